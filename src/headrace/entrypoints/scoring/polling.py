"""Following the route document."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec

from headrace.kernel.errors import NotTrusted, StorageUnavailable
from headrace.kernel.places import Places
from headrace.kernel.routes import RouteDocument
from headrace.serving.endpoints import Endpoints

POLL_SECONDS = 0.1
REMOTE_SECONDS = 1.0
RETRY_SECONDS = 2.0


class Poller:
    """Swaps the routes when their document changes; a document that cannot be read leaves the old routes."""

    def __init__(self, places: Places, endpoints: Endpoints) -> None:
        self._objects = places.objects
        self._path = places.routes
        self._pause = REMOTE_SECONDS if places.objects.remote else POLL_SECONDS
        self._endpoints = endpoints
        self._seen: tuple[int, int] | None = None
        self._tried = 0.0

    def poll(self) -> None:
        """Look once. What could not be loaded is tried again every two seconds."""
        try:
            with contextlib.suppress(StorageUnavailable):  # the routes that are known go on
                self._objects.latest(self._path)
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            again = self._endpoints.problem is not None and time.monotonic() - self._tried > RETRY_SECONDS
            if stamp == self._seen and not again:
                return
            document = read_routes(self._path)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._endpoints.problem = NotTrusted(
                f"The route document cannot be read: {error}.", todo="Run 'headrace worker', which publishes it again."
            )
            return
        self._seen = stamp
        self._tried = time.monotonic()
        self._endpoints.swap(document)

    async def run(self) -> None:
        """Look for ever; loading happens in a thread, so that requests go on."""
        while True:
            await asyncio.to_thread(self.poll)
            await asyncio.sleep(self._pause)


def known_routes(places: Places) -> RouteDocument | None:
    """The route document of a workspace as it is now, or as it was when it could be reached last; None without one.

    Raises:
        StorageUnavailable: it cannot be reached, and nothing is known of it here.
    """
    try:
        places.objects.latest(places.routes)
    except StorageUnavailable:
        if not places.routes.exists():
            raise
    return read_routes(places.routes) if places.routes.exists() else None


def read_routes(path: Path) -> RouteDocument:
    """The route document in a file."""
    return msgspec.json.decode(path.read_bytes(), type=RouteDocument)
