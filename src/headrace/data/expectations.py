"""What is expected of a dataset: declared by the project, or read off an earlier snapshot; and which rows break it.

A declared expectation that is broken stops a run. One that was only inferred (a type, nulls where there were none, an
unseen category, a value outside the range that was seen) is a finding: it is kept with the snapshot and shown.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import polars as pl

from headrace.kernel.errors import SchemaViolation
from headrace.kernel.records import Finding
from headrace.kernel.schema import Column, Schema

MOST_ROWS = 10
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is expected of one column: the values (`min`, `max`, `one_of`, the regular expression `matches` over the
    whole text), the largest share of nulls, and whether each value stands there once."""

    min: float | str | None = None
    max: float | str | None = None
    one_of: tuple[str | int | bool, ...] | None = None
    matches: str | None = None
    nulls: Share | None = None
    unique: bool = False


class Expectations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[dataset.NAME.expect]``: the least and most rows, and what is expected of each column."""

    min_rows: int | None = None
    max_rows: int | None = None
    columns: dict[str, Expected] = {}


def check_declared(frame: pl.DataFrame, expectations: Expectations, keys: tuple[str, ...]) -> list[Finding]:
    """What of the declared expectations is broken; keys are expected to be there and to name one row each."""
    found = []
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    frame = frame.with_columns(pl.col(floats).fill_nan(None))
    for bound, wrong in ((expectations.min_rows, frame.height.__lt__), (expectations.max_rows, frame.height.__gt__)):
        if bound is not None and wrong(bound):
            said = f"{'at least' if bound == expectations.min_rows else 'at most'} {bound:,} rows"
            found.append(Finding(column="", expected=said, count=frame.height, of=frame.height, declared=True))
    if keys:
        broken = frame.select(pl.struct(keys).is_duplicated() | pl.any_horizontal(pl.col(*keys).is_null())).to_series()
        found += _finding(frame, ", ".join(keys), "one row for each key, and no nulls in it", broken, keys)
    for name, expected in expectations.columns.items():
        if name not in frame.columns:
            found.append(
                Finding(column=name, expected="the column", count=frame.height, of=frame.height, declared=True)
            )
            continue
        for said, broken in _broken(frame[name], expected):
            found += _finding(frame, name, said, broken, keys)
    return found


def _finding(frame: pl.DataFrame, name: str, said: str, broken: pl.Series, keys: tuple[str, ...]) -> list[Finding]:
    if not broken.any():
        return []
    rows = broken.arg_true()
    shown = frame.select([*keys, *([name] if name in frame.columns and name not in keys else [])])[rows[:MOST_ROWS]]
    examples = tuple(", ".join(f"{k}={v!r}" for k, v in row.items()) for row in shown.iter_rows(named=True))
    return [
        Finding(
            column=name,
            expected=said,
            count=len(rows),
            of=frame.height,
            rows=tuple(rows[:MOST_ROWS].to_list()),
            examples=examples,
            declared=True,
        )
    ]


def _broken(series: pl.Series, it: Expected) -> list[tuple[str, pl.Series]]:
    """Each expectation in words, with the rows that break it."""
    there = series.is_not_null()
    found: list[tuple[str, pl.Series]] = []
    try:
        for bound, sign in ((it.min, "at least"), (it.max, "at most")):
            if bound is not None:
                limit = _moment(bound) if isinstance(series.dtype, pl.Datetime | pl.Date) else bound
                wrong = series < limit if sign == "at least" else series > limit
                said = f"{bound:g}" if isinstance(bound, float) else bound
                found.append((f"{sign} {said}", wrong.fill_null(False)))
        if it.one_of is not None:
            found.append((f"one of {', '.join(map(str, it.one_of))}", ~series.is_in(list(it.one_of)) & there))
        if it.matches is not None:
            found.append((f"texts like {it.matches}", ~series.str.contains(f"^(?:{it.matches})$").fill_null(True)))
    except (pl.exceptions.PolarsError, TypeError, AttributeError, NotImplementedError) as error:
        raise SchemaViolation(
            f"What is expected of {series.name!r} cannot be held against its type {series.dtype}: "
            f"{str(error).splitlines()[0]}.",
            field=series.name,
            expected="bounds of the column's own type, and matches for texts",
            todo="Correct [dataset.NAME.expect] in headrace.toml.",
        ) from error
    if it.nulls is not None and series.null_count() > it.nulls * len(series):
        found.append((f"at most {it.nulls:.1%} nulls", ~there))
    if it.unique:
        found.append(("each value once", series.is_duplicated() & there))
    return found


def _moment(bound: Any) -> Any:
    return pl.Series([str(bound)]).str.to_datetime(time_unit="us", strict=True)[0]


def without_values(findings: list[Finding], hidden: frozenset[str], keys: tuple[str, ...]) -> list[Finding]:
    """The findings without a value of a hidden column: such a row is named by its number alone."""
    told = hidden & set(keys)
    return [msgspec.structs.replace(f, examples=()) if told or f.column in hidden else f for f in findings]


def check_inferred(
    frame: pl.DataFrame, now: Schema, before: Schema, hidden: frozenset[str] = frozenset()
) -> list[Finding]:
    """What is otherwise than in an earlier snapshot, whose schema is `before`: columns, types, nulls, values.

    Of `hidden` columns no value is told that was seen before.
    """
    found = []
    known = {column.name: column for column in now.columns}
    for column in before.columns:
        here = known.get(column.name)
        if here is None or here.type != column.type:
            what = f"the column, of type {column.type}"
            found.append(Finding(column=column.name, expected=what, count=frame.height, of=frame.height))
            continue
        for said, broken in _unlike(frame[column.name], column, column.name in hidden):
            for one in _finding(frame, column.name, said, broken, ()):
                found.append(msgspec.structs.replace(one, declared=False))
    return found


def _unlike(series: pl.Series, column: Column, is_hidden: bool) -> list[tuple[str, pl.Series]]:
    found = []
    if not column.nullable and series.null_count():
        found.append(("no nulls, as before", series.is_null()))
    if column.role != "feature":
        return found
    if column.categories is not None and series.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = series.cast(pl.String)
        found.append(("a category that was seen before", ~texts.is_in(list(column.categories)) & texts.is_not_null()))
    elif column.minimum is not None and column.maximum is not None:
        outside = (series < column.minimum) | (series > column.maximum)
        seen = "within the range" if is_hidden else f"{column.minimum:g} to {column.maximum:g}"
        found.append((f"{seen}, as before", outside.fill_null(False)))
    return found


def late_columns(frame: pl.DataFrame, schema: Schema, share: float = 0.01) -> list[Finding]:
    """Features that tell of a moment after the row's own: they cannot have been known then, so they leak."""
    times = [column.name for column in schema.having("time")]
    if not times or not isinstance(frame.schema[times[0]], pl.Datetime | pl.Date):
        return []
    moment = frame[times[0]].cast(pl.Datetime("us"))
    found = []
    for column in schema.features:
        if column.type != "datetime":
            continue
        later = (frame[column.name].cast(pl.Datetime("us")) > moment).fill_null(False)
        if later.mean() > share:  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
            said = f"no moment after the row's own ({times[0]}): what was not known yet must not be a feature"
            for one in _finding(frame, column.name, said, later, ()):
                found.append(msgspec.structs.replace(one, declared=False))
    return found


def refuse(dataset: str, findings: list[Finding]) -> None:
    """Raise where a declared expectation is broken.

    Raises:
        SchemaViolation: all of them in words, the first by its row and field.
    """
    broken = [one for one in findings if one.declared]
    if broken:
        first = broken[0]
        raise SchemaViolation(
            f"The dataset {dataset} is not what is expected of it: {'; '.join(one.text() for one in broken)}.",
            row=first.rows[0] if first.rows else None,
            field=first.column or None,
            expected=first.expected,
            todo=f"Mend the rows, or change [dataset.{dataset}.expect] in headrace.toml. No snapshot was taken.",
        )
