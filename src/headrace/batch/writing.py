"""Rows of a result as bytes, and parts as one file."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import msgspec
import polars as pl

from headrace.batch.job import Asked, Format, Plan
from headrace.batch.reading import Reject
from headrace.batch.sources import need
from headrace.kernel.errors import InvalidInput, StorageUnavailable
from headrace.kernel.records import Record
from headrace.runtimes.bundle import GOLDEN_OUTPUTS

VERSION, ID, JOB = "version", "prediction_id", "job"
ROW_GROUP = 1 << 17
BATCH = 1 << 13
"""Rows that Polars writes at one go; its own 1,024 cost a third more."""
FORMULAS = r"^[=+\-@\t\r]"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)
RESULTS: dict[str, Format] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "excel",
}
TABLES: tuple[Format, ...] = ("parquet", "excel", "table")
"""Results in which a value has its type, and whose parts are Arrow files."""
SHEET_COLUMNS, CELL_CHARACTERS = 16_384, 32_767
SHEET_ROWS = 1_048_575
"""As many rows as a sheet holds below its header."""


def result_format(destination: str) -> Format:
    """The format of a result by its name.

    Raises:
        InvalidInput: it is unknown.
    """
    suffix = Path(destination).suffix.lower()
    if suffix not in RESULTS:
        raise InvalidInput(
            f"{destination!r} cannot be written: its ending {suffix!r} is unknown.",
            field="destination",
            expected=f"a file that ends in {', '.join(RESULTS)}",
            todo="Name the destination by its format.",
        )
    return RESULTS[suffix]


def write_block(frame: pl.DataFrame, form: Format, written: IO[bytes], risky: tuple[str, ...] = ()) -> None:
    """Write rows of a result as text, without a header, behind what is written already.

    Args:
        risky: columns in which a spreadsheet could find formulas.
    """
    if form == "jsonl":
        plain(frame).write_ndjson(written)
    else:
        disarmed(flat(frame), risky).write_csv(written, include_header=False, batch_size=BATCH)


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with nested columns as JSON, and durations as ISO 8601: a cell of a text holds one value."""
    frame = plain(frame)
    spans = [name for name, kind in frame.schema.items() if kind == pl.Duration]
    texts = [frame[name].alias("span").dt.to_string("iso").alias(name) for name in spans]
    frame = frame.with_columns(texts) if spans else frame
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns([_as_json(frame[name]) for name in nested]) if nested else frame


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with bytes as Base64, which texts have no other way to hold."""
    held = [name for name, kind in frame.schema.items() if kind == pl.Binary]
    texts = [frame[name].alias("bytes").bin.encode("base64").alias(name) for name in held]
    return frame.with_columns(texts) if held else frame


def _as_json(series: pl.Series) -> pl.Series:
    return pl.Series(series.name, [msgspec.json.encode(value).decode() for value in series.to_list()], dtype=pl.String)


def disarmed(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The frame with an apostrophe before each text of `columns` that a spreadsheet would take for a formula (OWASP,
    CSV injection); numbers are none."""
    texts = [name for name in columns if name in frame.columns and frame.schema[name] == pl.String]
    return frame.with_columns([_disarmed(frame[name]) for name in texts]) if texts else frame


def _disarmed(series: pl.Series) -> pl.Series:
    cells = series.alias("cells")  # Polars would take some names for patterns
    formula = cells.str.contains(FORMULAS)
    if not formula.any():
        return series
    formula = formula & ~cells.str.contains(NUMBER)
    return pl.select(pl.when(formula).then("'" + cells).otherwise(cells)).to_series().alias(series.name)


class Shape(Record, frozen=True, kw_only=True):
    """The columns of a result. `keep` are those of the source, `answers` those of the version, with their types.
    `plan` is what the ids of predictions begin with."""

    form: Format
    keep: tuple[str, ...]
    answers: dict[str, Any]
    escape: bool = True
    plan: str = ""

    @property
    def renamed(self) -> dict[str, str]:
        """The new names of kept columns that have the name of one of ours."""
        ours = {*self.answers, VERSION, ID, *([JOB] if self.form == "table" else [])}
        taken = {*ours, *self.keep}
        renamed: dict[str, str] = {}
        for name in self.keep:
            if name in ours:
                free = f"{name}_in"
                while free in taken:
                    free = f"{free}2"
                taken.add(free)
                renamed[name] = free
        return renamed

    def completed(self, rows: Table) -> Table:
        """Rows with their ids, where their numbers stood."""
        return rows.with_columns(pl.format(f"{self.plan}.{{}}", pl.col(ID)).alias(ID))

    def rows_of(self, parts: Sequence[Path]) -> pl.LazyFrame:
        """The rows of parts of a table, completed."""
        return (
            self.completed(pl.concat([pl.scan_ipc(part, glob=False) for part in parts])) if parts else self.empty.lazy()
        )

    @property
    def empty(self) -> pl.DataFrame:
        """A result without rows."""
        kept = {self.renamed.get(name, name): pl.String for name in self.keep}
        return pl.DataFrame(schema={**kept, **self.answers, VERSION: pl.Int64, ID: pl.String})


def shape_of(form: Format, asked: Asked, plan: Plan, bundle: Path) -> Shape:
    """The shape of a result of the version in `bundle`, whose golden answers have the types of all answers."""
    return Shape(
        form=form,
        keep=plan.keep,
        answers=dict(pl.read_ipc_schema(bundle / GOLDEN_OUTPUTS)),
        escape=asked.options.escape,
        plan=plan.id,
    )


class Answers(NamedTuple):
    """The answers of a job: parts in their order, as Arrow files or texts, or where `whole` the one text of them all,
    header and all."""

    parts: Sequence[Path]
    whole: bool = False


def header_of(shape: Shape) -> bytes:
    """What a text begins with."""
    if shape.form != "csv":
        return b""
    header = shape.empty.columns
    names = disarmed(pl.DataFrame({"names": header}), ["names"])["names"].to_list() if shape.escape else header
    return pl.DataFrame(schema=names).write_csv().encode()


def assemble(answers: Answers, shape: Shape, draft: Path) -> None:
    """Write one file of the answers, down to the disk.

    Raises:
        StorageUnavailable: there is no room.
    """
    with _written_down(draft):
        if answers.whole and _linked(answers.parts[0], draft):
            return
        if shape.form == "parquet":
            _table(answers.parts, shape, draft)
        elif shape.form == "excel":
            _workbook(answers.parts, shape, draft)
        else:
            _texts(answers, shape, draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def _written_down(draft: Path) -> Generator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError, *_of_workbooks()) as error:
        raise StorageUnavailable(
            f"The result could not be written to {draft.parent}: {error}.",
            todo="See that the folder may be written and has room, then retry the job: what was scored is kept.",
        ) from error


def _of_workbooks() -> tuple[type[Exception], ...]:
    """What the library of workbooks raises where a file cannot be written."""
    library = sys.modules.get("xlsxwriter.exceptions")
    return (library.FileCreateError,) if library else ()


def _table(parts: Sequence[Path], shape: Shape, draft: Path) -> None:
    shape.rows_of(parts).sink_parquet(draft, row_group_size=ROW_GROUP, maintain_order=True)


def _workbook(parts: Sequence[Path], shape: Shape, draft: Path) -> None:
    """One sheet, written row by row; cells are values, never formulas or links.

    Raises:
        InvalidInput: a sheet holds fewer rows.
    """
    library = need("xlsxwriter", "An Excel file")
    rows = sum(pl.scan_ipc(part, glob=False).select(pl.len()).collect().item() for part in parts)
    if rows > SHEET_ROWS:
        raise _no_sheet(f"The result has {rows:,} rows.", f"at most {SHEET_ROWS:,} rows")
    plain = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}
    with library.Workbook(draft, plain) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # noqa: DTZ001 - the same rows give the same bytes
        sheet = book.add_worksheet("answers")
        sheet.freeze_panes(1, 0)
        columns = shape.empty.columns
        if len(columns) > SHEET_COLUMNS:
            raise _no_sheet(f"The result has {len(columns):,} columns.", f"at most {SHEET_COLUMNS:,} columns")
        sheet.write_row(0, 0, columns)
        place = 1
        for part in parts:
            for row in flat(shape.rows_of([part]).collect()).iter_rows():
                sheet.write_row(place, 0, [_cell(value) for value in row])
                place += 1


def _no_sheet(what: str, expected: str) -> InvalidInput:
    return InvalidInput(
        what,
        field="destination",
        expected=f"{expected} in a sheet of Excel",
        todo="Name a destination that ends in .csv or .parquet.",
    )


def _cell(value: Any) -> Any:
    """A value as a sheet has it: whole numbers beyond a double's, and moments, are texts.

    Raises:
        InvalidInput: a text is longer than a cell can be.
    """
    if isinstance(value, str) and len(value) > CELL_CHARACTERS:
        raise _no_sheet(f"A text has {len(value):,} characters.", f"at most {CELL_CHARACTERS:,} characters in a cell")
    if isinstance(value, bool | float | str) or value is None:
        return value
    return value if isinstance(value, int) and abs(value) < 1 << 53 else str(value)


def _texts(answers: Answers, shape: Shape, draft: Path) -> None:
    with draft.open("wb") as file:
        if not answers.whole:
            file.write(header_of(shape))
        for part in answers.parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, file, 1 << 20)


def _linked(file: Path, draft: Path) -> bool:
    """Give a file that lies on the disk a second name, where it can have one."""
    try:
        os.link(file, draft)
    except OSError:  # another disk, or one that knows no links
        return False
    return True


def write_rejects(rejects: Iterable[Iterable[Reject]], draft: Path) -> None:
    """Write rejected rows as CSV; texts are disarmed, because people open it in a spreadsheet.

    Raises:
        StorageUnavailable: there is no room.
    """
    schema = {"file": pl.String, "line": pl.Int64, "field": pl.String, "reason": pl.String, "record": pl.String}
    with _written_down(draft), draft.open("wb") as file:
        file.write(pl.DataFrame(schema=schema).write_csv().encode())
        for some in rejects:
            rows = pl.DataFrame(list(some), schema=schema, orient="row")
            disarmed(rows, list(schema)).write_csv(file, include_header=False)


def read_first(path: Path, shape: Shape, rows: int, whole: bool, size: int | None = None) -> pl.DataFrame:
    """The first rows of a result that is whole, or of a part.

    Args:
        size: how many bytes of a text are rows; all of them by default.
    """
    if shape.form in TABLES and not whole:
        return shape.rows_of([path]).head(rows).collect()
    if shape.form == "excel":
        return pl.read_excel(path, engine="calamine", read_options={"n_rows": rows})
    if shape.form == "parquet":
        return pl.scan_parquet(path, glob=False).head(rows).collect()
    with path.open("rb") as file:
        lines = list(itertools.islice(file, rows * 50))
    if shape.form == "jsonl":
        return pl.read_ndjson(b"".join(lines[:rows])[:size])
    names = None if whole else shape.empty.columns
    return pl.read_csv(b"".join(lines)[:size], has_header=whole, new_columns=names, n_rows=rows, infer_schema=False)
