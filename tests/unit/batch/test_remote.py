"""What engines on a cluster have in common: waves that fit into memory, and parts that no pause drops."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.batch.engines import remote
from headrace.batch.job import Chunk, Counts
from headrace.batch.parts import Part
from headrace.kernel.errors import Unavailable

CHUNKS = [Chunk(number=i, input=0, first=i, last=i + 1) for i in range(10)]


@dataclass
class Input:
    blocks: tuple[int, ...] = tuple(range(10))


@dataclass
class Plan:
    rows: int
    size: int
    inputs: tuple[Input, ...] = (Input(),)


@dataclass
class Shape:
    answers: dict[str, int] = field(default_factory=lambda: {"prediction": 0})


@dataclass
class Order:
    plan: Plan
    shape: Shape = field(default_factory=Shape)


class Machines:
    """Answers each chunk, the last one first where asked, but for those that are to fail."""

    name = "Machines"
    cores = 1

    def __init__(self, wrong: int | None = None, backwards: bool = False) -> None:
        self.wrong = wrong
        self.backwards = backwards
        self.waves: list[list[int]] = []
        self.closed = 0

    def said(self, wave: Any) -> Any:
        self.waves.append([chunk.number for chunk in wave])
        for chunk in reversed(wave) if self.backwards else wave:
            if chunk.number == self.wrong:
                raise OSError("ray.exceptions.Wrapped: x\nRuntimeError: it burns")
            yield chunk.number, b"P" + msgspec.msgpack.encode((Part(counts=Counts(scored=chunk.number)), b"x"))

    def close(self) -> None:
        self.closed += 1
        raise ConnectionError("the cluster is gone")


def engine(machines: Machines, tmp_path: Path) -> remote.ElsewhereEngine:
    return remote.ElsewhereEngine(lambda *_: machines, "Machines", tmp_path, "digest")


def test_a_pause_drops_nothing_of_a_wave(tmp_path: Path) -> None:
    machines, kept = Machines(), []
    scored = engine(machines, tmp_path).scored(CHUNKS, Order(Plan(1000, 1000)), lambda chunk, *_: kept.append(chunk))
    assert next(scored) == (CHUNKS[0], Counts(scored=0))
    scored.close()
    assert kept == CHUNKS[: remote.EACH], "all of the wave, and no more"
    assert (machines.waves, machines.closed) == ([[0, 1, 2, 3]], 1)


def test_every_chunk_is_told_once(tmp_path: Path) -> None:
    machines = Machines()
    scored = list(engine(machines, tmp_path).scored(CHUNKS, Order(Plan(1000, 1000)), lambda *_: None))
    assert scored == [(chunk, Counts(scored=chunk.number)) for chunk in CHUNKS]
    assert machines.waves == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_chunks_are_kept_in_their_order(tmp_path: Path) -> None:
    kept: list[Chunk] = []
    scored = engine(Machines(backwards=True), tmp_path).scored(
        CHUNKS, Order(Plan(1000, 1000)), lambda chunk, *_: kept.append(chunk)
    )
    assert [chunk for chunk, _ in scored] == kept == CHUNKS


def test_what_a_cluster_raises_is_explained_and_what_it_scored_is_kept(tmp_path: Path) -> None:
    kept: list[Chunk] = []
    scored = engine(Machines(wrong=2), tmp_path).scored(
        CHUNKS, Order(Plan(1000, 1000)), lambda chunk, *_: kept.append(chunk)
    )
    with pytest.raises(Unavailable, match="Machines did not score the chunks: RuntimeError: it burns"):
        list(scored)
    assert kept == CHUNKS[:2]


@pytest.mark.parametrize(
    ("rows", "size", "cores", "expected"),
    [(1_000, 1_000, 64, 256), (20_000_000, 160 << 20, 64, 1), (1_500_000, 160 << 20, 64, 8), (0, 0, 2, 8)],
)
def test_a_wave_fits_into_the_budget(rows: int, size: int, cores: int, expected: int) -> None:
    assert remote.wave_size(Order(Plan(rows, size)), CHUNKS, cores) == expected
