"""What scoring processes leave of their counts: a file each, for their siblings, `headrace status` and the console."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import msgspec

from headrace.serving.counters import Counters, Snapshot, merged

WRITE_SECONDS = 1.0
KEPT_SECONDS = 86_400.0


class Told(msgspec.Struct, kw_only=True):
    """The counts of one process; `group` names the processes that one command started."""

    group: str
    pid: int
    port: int
    started: float
    written: float
    counts: Snapshot


class Sharing:
    """Writes the counts of this process every second, and adds those of its siblings to them."""

    def __init__(self, folder: Path, group: str, name: str, port: int, counters: Counters) -> None:
        self._folder = folder
        self._group = group
        self.path = folder / f"{name}.json"
        self._port = port
        self._counters = counters
        self._started = time.time()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="counts", daemon=True)

    def start(self) -> None:
        """Begin to write; what is a day old goes."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob("*.json"):
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink(missing_ok=True)
        self._write()
        self._thread.start()

    def stop(self) -> None:
        """Write the last counts; they stay."""
        self._stopping.set()
        self._thread.join()
        self._write()

    def together(self) -> Snapshot:
        """The counts of every process of this group, those that ended among them."""
        mine = self._counters.snapshot()
        others = [
            told.counts for path, told in read_told(self._folder) if told.group == self._group and path != self.path
        ]
        return merged([mine, *others]) if others else mine

    def _work(self) -> None:
        while not self._stopping.wait(WRITE_SECONDS):
            self._write()

    def _write(self) -> None:
        """A disk that refuses costs what is shown, not an answer; the next second tries again."""
        told = Told(
            group=self._group,
            pid=os.getpid(),
            port=self._port,
            started=self._started,
            written=time.time(),
            counts=self._counters.snapshot(),
        )
        with contextlib.suppress(OSError):
            draft = self.path.with_suffix(".draft")
            draft.write_bytes(msgspec.json.encode(told))
            draft.replace(self.path)


def read_told(folder: Path) -> list[tuple[Path, Told]]:
    """What every process of a workspace has told last."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found.append((path, msgspec.json.decode(path.read_bytes(), type=Told)))
    return found
