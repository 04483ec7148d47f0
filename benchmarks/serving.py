"""One row over HTTP through `headrace serve` and through what people use, interleaved in one run: one table.

    python benchmarks/serving.py [--peers all|NAME,NAME] [--seconds 5] [--rounds 3]

Needs Linux, wrk, scikit-learn and pandas. The peers' virtual environments are made in benchmarks/.peers on first use.
The table is printed and written into docs/benchmarks.md; the exit code is 1 where a server failed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import signal
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from peers.catalog import ECHO, PEERS, Peer
from peers.environments import Environment, Failed, open_environment
from peers.load import Load, load, wrk_path
from peers.processes import headers, prepare, serving
from peers.report import Record, notes, table, write

MANY, WARM_SECONDS = 32, 1
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def measure(wrk: str, peer: Peer, port: int, folder: Path, seconds: int) -> tuple[Load, Load]:
    """A running server at one connection and at many, each after a warm-up of its own."""
    url = f"http://127.0.0.1:{port}{peer.path}"
    named = headers(peer, folder)
    found: list[Load] = []
    for connections in (1, MANY):
        load(wrk, url, peer.content, named, connections, WARM_SECONDS)
        found.append(load(wrk, url, peer.content, named, connections, seconds))
    return found[0], found[1]


class Run:
    """One run: the environments, the models and the records of the chosen servers.

    Args:
        folder: where models and logs are kept while it lasts.
    """

    def __init__(self, wrk: str, peers: list[Peer], folder: Path, seconds: int) -> None:
        self._wrk = wrk
        self._folder = folder
        self._seconds = seconds
        self._environments: dict[str, Environment] = {}
        self.records = [Record(peer) for peer in peers]
        self.echo = self.records[0]

    def prepare(self) -> None:
        """Make what the servers need; one whose packages or model cannot be made has failed."""
        for record in self.records:
            print(f"preparing {record.peer.name}", file=sys.stderr)
            try:
                environment = open_environment(record.peer.environment)
                prepare(record.peer, environment, self._folder / record.peer.name)
            except Failed as failure:
                self._fail(record, failure)
            else:
                self._environments[record.peer.name] = environment
                record.versions = environment.versions
        if self.echo.failure:
            raise SystemExit("Without the echo nothing can be compared.")

    def round(self) -> None:
        """Each server that has not failed yet, between two measurements of the echo."""
        with self._serving(ECHO) as echo_port:
            before = self._echo(echo_port)
            for record in self.records[1:]:
                if record.failure:
                    continue
                try:
                    with self._serving(record.peer) as port:
                        one, many = measure(
                            self._wrk, record.peer, port, self._folder / record.peer.name, self._seconds
                        )
                except Failed as failure:
                    self._fail(record, failure)
                    continue
                after = self._echo(echo_port)
                record.add(one, many, (before + after) / 2)
                before = after
                print(f"{record.peer.name}: {one.p50:.3f} ms, {many.rate:,.0f}/s", file=sys.stderr)

    def _serving(self, peer: Peer) -> AbstractContextManager[int]:
        return serving(peer, self._environments[peer.name], self._folder / peer.name)

    def _echo(self, port: int) -> float:
        try:
            one, many = measure(self._wrk, ECHO, port, self._folder / ECHO.name, self._seconds)
        except Failed as failure:
            raise SystemExit(f"The echo failed, and nothing can be compared: {failure}") from failure
        self.echo.add(one, many, many.rate)
        return many.rate

    def _fail(self, record: Record, failure: Failed) -> None:
        record.failure = str(failure)
        print(f"{record.peer.name} failed: {failure}", file=sys.stderr)


def chosen(names: str) -> list[Peer]:
    """The servers of these names, the echo first, which every run has.

    Raises:
        SystemExit: a name is unknown.
    """
    known = {peer.name: peer for peer in PEERS}
    asked = list(known) if names == "all" else [name.strip() for name in names.split(",")]
    if unknown := [name for name in asked if name not in known]:
        raise SystemExit(f"There is no server {', '.join(unknown)}; there are: {', '.join(known)}.")
    return [ECHO, *(peer for name, peer in known.items() if name in asked and peer is not ECHO)]


def versions() -> str:
    """Ours, and those of the libraries that our model needs."""
    names = ("headrace", "uvicorn", "scikit-learn", "pandas")
    python = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return " ".join([*(f"{name} {importlib.metadata.version(name)}" for name in names), python])


def stop(number: int, frame: object) -> None:
    """End the run by a signal so that no server outlives it."""
    raise SystemExit(128 + number)


def main() -> int:
    """Measure, print, write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--peers", default="all", help="all, or names with commas between them")
    asked.add_argument("--seconds", type=int, default=5, help="of each measurement")
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    wrk = wrk_path()
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as folder:
        run = Run(wrk, chosen(options.peers), Path(folder), options.seconds)
        run.prepare()
        for _ in range(options.rounds):
            run.round()
    text = f"{table(run.records)}\n\n{notes(run.records, options.rounds, options.seconds, versions())}"
    print(text)
    write(PAGE, text)
    return 1 if any(record.failure for record in run.records) else 0


if __name__ == "__main__":
    sys.exit(main())
