"""The table of a run, and its place in the page of figures."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peers.catalog import Peer
from peers.load import Load

BEGIN, END = "<!-- serving:begin -->", "<!-- serving:end -->"
_HEAD = "| server | p50 at 1, ms | requests/s at 32 | p99 at 32, ms | x typical | x echo |\n|---|---|---|---|---|---|"
_SECTION = f"""
## Serving

`python benchmarks/serving.py` (Linux, needs wrk). One row of eight numbers and three texts through the same pipeline
(StandardScaler, OneHotEncoder, HistGradientBoosting with 200 trees) behind each server. It is started anew in each
round, must first answer with the right probability, and is measured between two measurements of the echo: wrk with one
thread on the same machine, at 1 connection and at 32, after a warm-up at each. Figures are medians of the rounds.
"x typical" and "x echo" are requests/s at 32 by those of `typical` in the same round, and of the echo just before and
after.

All have one worker, `OMP_NUM_THREADS=1`, uvloop and httptools where they use uvicorn, and no access logs. MLServer,
LitServe and Ray Serve wait at most 1 ms to fill a batch of 64; at 5 ms they answer some more requests/s, and a lone
request 4 ms later. BentoML, LitServe and `typical` check types, MLflow its signature; Headrace checks types, captures
each prediction and counts, as it does by default. LitServe, MLServer and Ray Serve spread over several processes, which
share the cores with wrk. A Python object that Headrace does not compile is asked for labels and for probabilities, so
scikit-learn computes each answer twice there.

{BEGIN}
{END}
"""


@dataclass
class Record:
    """What the rounds found of one server: at 1 connection, at 32, and the echo's requests/s around it."""

    peer: Peer
    versions: str = ""
    one: list[Load] = field(default_factory=list)
    many: list[Load] = field(default_factory=list)
    echoes: list[float] = field(default_factory=list)
    failure: str = ""

    def add(self, one: Load, many: Load, echo: float) -> None:
        """Keep what a round found."""
        self.one.append(one)
        self.many.append(many)
        self.echoes.append(echo)

    def rates(self) -> list[float]:
        """Requests/s at 32 in each round."""
        return [load.rate for load in self.many]


def table(records: Sequence[Record]) -> str:
    """All servers; one that failed says why."""
    typical = next((r.rates() for r in records if r.peer.name == "typical" and not r.failure), [])
    return "\n".join([_HEAD, *(_line(record, typical) for record in records)])


def _line(record: Record, typical: list[float]) -> str:
    name = f"{record.peer.name}: {record.peer.what}"
    if record.failure:
        why = " ".join(record.failure.replace("|", "/").split())
        return f"| {name} | failed: {why} | | | | |"
    cells = (
        _figure(statistics.median(load.p50 for load in record.one)),
        f"{statistics.median(record.rates()):,.0f}",
        _figure(statistics.median(load.p99 for load in record.many)),
        _figure(_times(record.rates(), typical)) if typical else "",
        _figure(_times(record.rates(), record.echoes)),
    )
    return f"| {name} | {' | '.join(cells)} |"


def _times(rates: list[float], others: list[float]) -> float:
    """How many times the others, by the median of the rounds; the echo has several measurements in a round."""
    if len(rates) != len(others):
        return statistics.median(rates) / statistics.median(others)
    return statistics.median(rate / other for rate, other in zip(rates, others, strict=True))


def _figure(value: float) -> str:
    """A number with the digits that count."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def notes(records: Sequence[Record], rounds: int, seconds: int, own: str) -> str:
    """How often and on what it was measured, and the versions of everything."""
    peers = dict.fromkeys(f"- {record.peer.environment}: {record.versions}" for record in records if record.versions)
    cores = len(os.sched_getaffinity(0))
    head = f"Rounds: {rounds}, of {seconds} s each. Cores: {cores}, shared by wrk and the server. Versions:"
    return "\n".join([head, "", f"- headrace: {own}", *peers])


def write(page: Path, text: str) -> None:
    """Put the text between the markers of the page; a page without them gets a section."""
    content = page.read_text()
    if BEGIN not in content:
        content = content.rstrip("\n") + "\n" + _SECTION
    before, rest = content.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
