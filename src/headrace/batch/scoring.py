"""What an engine does with a chunk, wherever that is: read its blocks, and score them.

A model is called once for each block, so that what it says cannot depend on how chunks were cut; rows at which it
raises are found by halves and rejected.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np
import polars as pl

from headrace.batch.capturing import Capturing
from headrace.batch.figures import Figures, added, figures_of
from headrace.batch.isolating import isolated
from headrace.batch.job import Asked, Chunk, Counts, Input, Plan
from headrace.batch.parts import Part
from headrace.batch.reading import Reader, Reject, Rows, explained
from headrace.batch.writing import ID, TABLES, VERSION, Shape, write_block
from headrace.compiler.golden import answers_frame
from headrace.kernel.errors import HeadraceError, Unavailable
from headrace.kernel.ports import AnswerArrays, Columns, Scorer


class Order(NamedTuple):
    """What is to be done with the chunks of one job, as it can be sent to other machines.

    `edges` are those of the figures for a report; None where there is none.
    """

    asked: Asked
    plan: Plan
    shape: Shape
    capturing: Capturing | None
    edges: tuple[float, ...] | None


class Scoring:
    """Scores the chunks of one job; safe to call from several threads.

    Args:
        golden: gives the version's golden rows.
    """

    def __init__(self, order: Order, scorer: Scorer, golden: Callable[[], Columns]) -> None:
        self._edges = order.edges
        self._capturing = order.capturing
        self._golden = golden
        self._asked = order.asked
        self._plan = order.plan
        self._scorer = scorer
        self._shape = shape = order.shape
        self._dtypes: Any = shape.answers
        known = {c.name for c in scorer.schema.asked if c.type != "string"}
        plain = (shape.renamed.get(name, name) for name in shape.keep if name not in known)
        self._risky = (*plain, *shape.answers) if order.asked.options.escape else ()
        self._reader = Reader(order.plan, scorer.schema, typed=shape.form in TABLES)

    def part(self, chunk: Chunk, written: IO[bytes]) -> Part:
        """Score a chunk, and write its answers into a file."""
        frames: list[pl.DataFrame] = []
        captured: list[pl.DataFrame] = []
        figures: list[Figures] = []
        rejects: list[Reject] = []
        scored = 0
        for rows in self._reader.read(chunk):
            frame, refused = self._block(self._plan.inputs[chunk.input], rows, captured)
            rejects += refused
            scored += frame.height
            if self._edges is not None and frame.height:
                figures.append(figures_of(frame, self._edges))
            if self._shape.form in TABLES:
                frames.append(frame)
            else:
                write_block(frame, self._shape.form, written, self._risky)
        if frames and scored:
            pl.concat(frames).write_ipc(written)
        rejects.sort(key=lambda one: one.line)
        return Part(
            counts=Counts(scored=scored, rejected=len(rejects)),
            rejects=rejects,
            captured=_as_file(captured),
            figures=added(figures),
        )

    def _block(self, it: Input, rows: Rows, captured: list[pl.DataFrame]) -> tuple[pl.DataFrame, list[Reject]]:
        """The rows of a block as they stand in the result, and those that are rejected; those for the predictions table
        are added to `captured`."""
        good, bad = isolated(rows.count, lambda part: self._said(rows.columns, part))
        if bad and not good and not any(isinstance(error, HeadraceError) for _, error in bad):
            need_able(self._scorer, self._golden, f"{self._asked.model}@{self._asked.version}", bad[0][1])
        rejects = [*rows.rejects]
        for row, error in bad:
            field, reason = explained(error)
            rejects.append(Reject(it.name, int(rows.numbers[row]), field, reason, rows.records(row)))
        frames = [answers_frame(answers, self._scorer.classes).cast(self._dtypes) for _, answers in good]
        answers = pl.concat(frames) if frames else pl.DataFrame(schema=self._dtypes)
        kept, numbers = rows.kept, rows.numbers
        left = np.ones(rows.count, dtype=bool)
        left[[row for row, _ in bad]] = False
        if bad:
            kept, numbers = kept.filter(left), numbers[left]
        if self._capturing is not None and len(numbers):
            seen = rows.seen().filter(left) if bad else rows.seen()
            captured.append(self._capturing.rows(seen, answers, numbers + it.base))
        return self._joined(kept, answers, numbers + it.base), rejects

    def _said(self, columns: Columns, part: slice) -> AnswerArrays:
        chosen = {name: values[part] for name, values in columns.items()}
        return self._scorer.arrays(chosen, part.stop - part.start)

    def _joined(self, kept: pl.DataFrame, answers: pl.DataFrame, numbers: np.ndarray) -> pl.DataFrame:
        """Kept columns, answers, version, and ids; a kept column of the name of one of ours is named after itself.
        In parts of tables numbers stand where the ids will."""
        version = pl.repeat(self._asked.version, len(numbers), dtype=pl.Int64, eager=True)
        ours = pl.DataFrame({VERSION: version, ID: numbers})
        frame = pl.concat([kept.rename(self._shape.renamed), answers, ours], how="horizontal")
        return frame if self._shape.form in TABLES else self._shape.completed(frame)


def need_able(scorer: Scorer, golden: Callable[[], Columns], version: str, error: Exception) -> None:
    """See that a model that raises at every row it got still answers a row that it once answered.

    Raises:
        Unavailable: it does not, so that its rows are not to blame.
    """
    try:
        scorer.arrays({name: values[:1] for name, values in golden().items()}, 1)
    except Exception as same:  # whatever it is, no row is to blame
        raise Unavailable(
            f"The model answers nothing here, not even its golden rows: {type(same).__name__}: {same}.",
            todo=f"See that its libraries are those of 'headrace show {version}'.",
        ) from error


def _as_file(frames: list[pl.DataFrame]) -> bytes:
    """Rows as an Arrow file; nothing where there are none."""
    if not frames:
        return b""
    written = io.BytesIO()
    pl.concat(frames).write_ipc(written, compression="zstd")
    return written.getvalue()
