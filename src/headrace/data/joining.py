"""Point-in-time joins: each row gets what was known at its own moment, so that no later knowledge leaks into it.

Of several rows of a joined table the last one before the moment counts; one of the very same moment does not, because
nobody can tell which was first.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from headrace.kernel.errors import InvalidInput


def join_as_of(
    base: pl.DataFrame,
    moment: str,
    table: pl.DataFrame,
    name: str,
    *,
    on: tuple[str, ...],
    known: str,
    columns: tuple[str, ...] = (),
    within: timedelta | None = None,
) -> pl.DataFrame:
    """`base` with the columns of `table` as they were known before each row's moment; null where nothing was.

    Args:
        moment: the column of `base` that says when a row happened.
        name: what the table is called; a column of it that `base` has too becomes ``name.column``.
        on: the columns of both by which a row finds its own.
        known: the column of `table` that says when a row of it became known.
        columns: which columns are taken; all where none is named.
        within: how old what is known may be.

    Raises:
        InvalidInput: a column is absent, or is no moment.
    """
    base = _with_moment(base, moment, "the dataset")
    table = _with_moment(table, known, name, ends=True)  # what is known on a day is known by its end
    _need_columns(base, table, name, on, columns)
    taken = columns or tuple(column for column in table.columns if column not in (*on, known))
    renamed = {column: f"{name}.{column}" if column in base.columns else column for column in taken}
    moments = pl.col(known).alias("__known")
    _need_fit(base, table, name, on, tuple(renamed.values()))
    table = table.with_columns(pl.col(c).cast(base.schema[c], strict=False) for c in on)
    facts = table.filter(pl.col(known).is_not_null()).select(
        *on, moments, *(pl.col(c).alias(n) for c, n in renamed.items())
    )
    return _newest_before(base, moment, facts, on, within)


def _newest_before(
    base: pl.DataFrame, moment: str, facts: pl.DataFrame, on: tuple[str, ...], within: timedelta | None
) -> pl.DataFrame:
    """Each row of `base` with the newest facts whose ``__known`` lies before its moment; its order is kept."""
    numbered = base.with_row_index("__row")
    joined = (
        numbered.filter(pl.col(moment).is_not_null())
        .sort(moment, maintain_order=True)
        .join_asof(
            facts.sort("__known", maintain_order=True),
            left_on=moment,
            right_on="__known",
            by=list(on),
            strategy="backward",
            allow_exact_matches=False,
            tolerance=within,
            check_sortedness=False,
        )
    )
    rest = numbered.filter(pl.col(moment).is_null())
    whole = pl.concat([joined.drop("__known", strict=False), rest], how="diagonal")
    return whole.sort("__row").drop("__row")


def _need_columns(
    base: pl.DataFrame, table: pl.DataFrame, name: str, on: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    for frame, where, wanted in ((base, "the dataset", on), (table, name, (*on, *columns))):
        absent = [column for column in wanted if column not in frame.columns]
        if absent:
            raise InvalidInput(
                f"The column {absent[0]!r} of a join is not in {where}.",
                field=absent[0],
                expected=f"one of {', '.join(frame.columns)}",
                todo="Correct join in headrace.toml.",
            )


def _need_fit(base: pl.DataFrame, table: pl.DataFrame, name: str, on: tuple[str, ...], taken: tuple[str, ...]) -> None:
    """See that no column would be there twice, and that rows can find their own."""
    clash = [column for column in taken if column in base.columns]
    if clash:
        raise InvalidInput(
            f"The column {clash[0]!r} of a join is there already.",
            field=clash[0],
            expected="each column once",
            todo="Name the columns to be taken, or rename them where the table is loaded.",
        )
    unlike = [c for c in on if base.schema[c] != table.schema[c] and not _whole(base.schema[c], table.schema[c])]
    if unlike:
        raise InvalidInput(
            f"The column {unlike[0]!r} of a join is {base.schema[unlike[0]]} in the dataset and "
            f"{table.schema[unlike[0]]} in {name}.",
            field=unlike[0],
            expected="the same type in both",
            todo="Convert it where one of them is loaded.",
        )


def _whole(*kinds: pl.DataType) -> bool:
    return all(kind.is_integer() for kind in kinds)


def _with_moment(frame: pl.DataFrame, column: str, where: str, *, ends: bool = False) -> pl.DataFrame:
    """The frame, its column of moments in one unit; a date is its day's beginning, or its end where `ends`."""
    kind = frame.schema.get(column)
    if kind is None or not isinstance(kind, pl.Datetime | pl.Date):
        raise InvalidInput(
            f"The column {column!r} of {where} is {'absent' if kind is None else f'of the type {kind}'}.",
            field=column,
            expected="a column of dates and times",
            todo="Correct time or known in headrace.toml, or convert the column where the table is loaded.",
        )
    plain = (
        pl.col(column).dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        if getattr(kind, "time_zone", None)
        else pl.col(column)
    )
    moment = plain.cast(pl.Datetime("us"))
    if ends and isinstance(kind, pl.Date):
        moment += pl.duration(days=1) - pl.duration(microseconds=1)
    return frame.with_columns(moment.alias(column))
