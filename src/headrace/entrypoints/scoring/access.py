"""The access log: one line of JSON for each request, written by a thread, so that no reply waits for it."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from headrace.serving.app import SEEN, Seen

WRITE_SECONDS = 0.2
MOST_LINES = 100_000


class AccessLog:
    """An ASGI callable around another. ``-`` is standard error; a full buffer drops lines and says how many."""

    def __init__(self, app: Any, path: Path) -> None:
        self._app = app
        self._file: IO[str] = sys.stderr if str(path) == "-" else path.open("a", encoding="utf-8")
        self._lines: deque[bytes] = deque(maxlen=MOST_LINES)
        self._dropped = 0
        self._encode = msgspec.json.Encoder().encode
        threading.Thread(target=self._work, name="access log", daemon=True).start()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI 3."""
        started = time.perf_counter()
        status, size = 0, 0

        async def counting(message: dict[str, Any]) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counting)
        finally:
            self.note(scope, status, size, started)

    def note(self, scope: dict[str, Any], status: int, size: int, started: float) -> None:
        """Write a line of one request, which began at `started` by the performance counter."""
        if len(self._lines) == MOST_LINES:
            self._dropped += 1
        self._lines.append(self._encode(_line(scope, status, size, time.perf_counter() - started)))

    def _work(self) -> None:
        while True:
            time.sleep(WRITE_SECONDS)
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft().decode())
        if self._dropped:
            lines.append(f'{{"dropped_lines": {self._dropped}}}')
            self._dropped = 0
        if lines:
            try:
                self._file.write("\n".join(lines) + "\n")
                self._file.flush()
            except OSError:
                self._dropped += len(lines)


def _line(scope: dict[str, Any], status: int, size: int, seconds: float) -> dict[str, Any]:
    seen: Seen | None = scope.get(SEEN)
    noted = seen.noted if seen is not None else None
    client = scope.get("client")
    headers = dict(scope.get("headers", ()))
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        "method": scope.get("method"),
        "path": scope.get("path"),
        "status": status,
        "bytes": size,
        "seconds": round(seconds, 6),
        "request_id": headers.get(b"x-request-id", b"").decode("latin-1")[:200] or None,
        "consumer": (seen.consumer if seen else "") or None,
        "error": seen.error.kind if seen is not None and seen.error is not None else None,
    }
    if noted is not None:
        line |= {
            "model": noted.chosen.model,
            "version": noted.chosen.version,
            "route": noted.route,
            "dialect": noted.dialect,
            "rows": noted.rows.count,
            "id": noted.id,
            "generation": noted.state.generation,
        }
    return {name: value for name, value in line.items() if value is not None}
