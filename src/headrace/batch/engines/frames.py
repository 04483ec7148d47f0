"""The rows of a frame, each with its answer or the reason why it has none: for those who keep the frames themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from headrace.batch.engines.remote import Sent, packed, unpacked
from headrace.batch.isolating import isolated
from headrace.batch.reading import explained
from headrace.batch.scoring import need_able
from headrace.batch.writing import VERSION, Shape
from headrace.compiler.golden import answers_frame
from headrace.data.frames import columns_of, storable
from headrace.data.validation import check, infinite
from headrace.kernel.errors import HeadraceError
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Record
from headrace.registry.versions import Versions
from headrace.runtimes.bundle import GOLDEN_OUTPUTS

ERROR = "error"


class Answering(Record, frozen=True, kw_only=True):
    """A version that answers frames wherever it is sent. `features` are the columns that it needs, and `answers` those
    that it gives, with their types."""

    model: str
    version: int
    digest: str
    features: tuple[str, ...]
    answers: dict[str, pl.DataType]

    def answered(self, frame: pl.DataFrame, files: Callable[[], bytes]) -> pl.DataFrame:
        """The answers, the version, and in `error` the field and the reason where a row has no answer; as many rows as
        the frame, in its order.

        Args:
            files: gives the bundle, if this process did not open it yet.

        Raises:
            SchemaViolation: a column is absent.
            Unavailable: the model answers nothing there, as where a library is another one.
        """
        scorer, golden = unpacked(Sent(self.digest, files))
        answers, reasons, bad = _answered(storable(frame), scorer, self.answers)
        if bad and reasons.count(None) == 0 and not any(isinstance(error, HeadraceError) for error in bad):
            need_able(scorer, lambda: golden, f"{self.model}@{self.version}", bad[0])
        return answers.with_columns(
            pl.lit(self.version, pl.Int64).alias(VERSION), pl.Series(ERROR, reasons, dtype=pl.String)
        )

    def beside(self, frame: pl.DataFrame, files: Callable[[], bytes]) -> pl.DataFrame:
        """The frame with its answers; a column of it that has the name of one of ours is named after itself."""
        said = self.answered(frame, files)
        shape = Shape(form="parquet", keep=tuple(frame.columns), answers={**self.answers, ERROR: pl.String})
        return pl.concat([frame.rename(shape.renamed), said], how="horizontal")


def prepared(versions: Versions, model: str) -> tuple[Answering, bytes]:
    """What answers for a version, and its bundle, held against its signature before it leaves.

    Raises:
        NotFound: there is no such version.
        NotTrusted: its bundle was altered.
    """
    version = versions.get(model)
    versions.open(version)
    bundle = versions.folder(version)
    found = Answering(
        model=version.name,
        version=version.number,
        digest=version.digest,
        features=tuple(column.name for column in version.schema.features),
        answers=dict(pl.read_ipc_schema(bundle / GOLDEN_OUTPUTS)),
    )
    return found, packed(bundle)


def _answered(
    frame: pl.DataFrame, scorer: Scorer, dtypes: dict[str, pl.DataType]
) -> tuple[pl.DataFrame, list[str | None], list[Exception]]:
    typed, broken = check(frame, scorer.schema)
    reasons: list[str | None] = [None] * frame.height
    good = np.ones(frame.height, dtype=bool)
    for one in [*broken, *infinite(typed, scorer.schema)]:
        for row in np.flatnonzero(one.rows.to_numpy() & good).tolist():
            reasons[row] = _reason(one.column.name, one.what(row))
        good &= ~one.rows.to_numpy()
    places = np.flatnonzero(good)
    columns = columns_of(typed.filter(good), scorer.schema)
    parts, bad = isolated(
        len(places), lambda part: scorer.arrays({n: v[part] for n, v in columns.items()}, part.stop - part.start)
    )
    for row, error in bad:
        reasons[int(places[row])] = _reason(*explained(error))
        good[places[row]] = False
    said = [answers_frame(answers, scorer.classes).cast(dtypes) for _, answers in parts]  # pyright: ignore[reportArgumentType]
    answers = pl.concat(said) if said else pl.DataFrame(schema=dtypes)
    back = np.where(good, np.cumsum(good) - 1, -1)
    spread = pl.Series(back).replace(-1, None)
    answers = answers.select(pl.all().gather(spread)) if answers.height else _nothing(dtypes, frame.height)
    return answers, reasons, [error for _, error in bad]


def _nothing(dtypes: dict[str, pl.DataType], rows: int) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series([None] * rows, dtype=kind) for name, kind in dtypes.items()})


def _reason(field: str, reason: str) -> str:
    return f"{field}: {reason}" if field else reason
