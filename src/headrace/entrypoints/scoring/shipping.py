"""Bringing what a scoring process leaves to object storage: its segments of captures, and its counts."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from headrace.kernel.errors import StorageUnavailable
from headrace.kernel.places import Places
from headrace.serving.segments import share

SHIP_SECONDS = 1.0


class Shipper:
    """Ships the outbox of this machine, and the file of this process's counts.

    While storage cannot be reached everything stays on this machine's disk; the next second tries again.
    """

    def __init__(self, places: Places, counts: Path) -> None:
        self._places = places
        self._counts = counts

    def ship(self) -> None:
        """Ship what is there now."""
        if not self._places.objects.remote:
            return
        with contextlib.suppress(StorageUnavailable):
            share(self._places.predictions_outbox, self._places.predictions_inbox, self._places.objects.put)
            if self._counts.exists():
                self._places.objects.put(self._places.scorers / self._counts.name, self._counts.read_bytes())

    async def run(self) -> None:
        """Ship for ever, in a thread, so that requests go on."""
        while True:
            await asyncio.to_thread(self.ship)
            await asyncio.sleep(SHIP_SECONDS)
