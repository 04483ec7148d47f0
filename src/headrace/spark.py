"""For people who live in Spark: a version as a function of columns.

>>> arrival = headrace.spark.udf("late-arrival@3")
>>> flights.withColumn("late", arrival(F.struct("*"))).select("late.prediction", "late.`probability.1`")
>>> spark.udf.register("late_arrival", arrival)
>>> spark.sql("SELECT late_arrival(struct(*)).prediction FROM flights")
"""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.batch.engines.frames import ERROR, Answering, prepared
from headrace.batch.engines.on_spark import session, shared
from headrace.batch.sources import need
from headrace.batch.writing import VERSION
from headrace.kernel.errors import InvalidInput
from headrace.workspace import Workspace, open  # noqa: A004

NAMES = {pl.Int64: "bigint", pl.Int32: "int", pl.Float64: "double", pl.Boolean: "boolean", pl.String: "string"}


def udf(model: str, workspace: Workspace | str | None = None) -> Any:
    """A version as a function of Spark, in the active session or a new one.

    It takes one struct with the columns by their names, or the version's features as columns in their order, and gives
    a struct: `prediction`, ``probability.CLASS`` for each class, `version`, and `error`, which says of a row that
    cannot be answered which field and why. Answers are those of every other form. The bundle goes to each executor
    once.

    Args:
        model: a reference such as ``late-arrival@3``.
        workspace: one, or its address; by default the one of ``headrace.open()``.

    Raises:
        MissingExtra: Spark (``headrace[spark]``) is not installed.
        NotFound: there is no such version.
        NotTrusted: its bundle was altered.
    """
    functions = need("pyspark.sql.functions", "A function of Spark", "spark")
    ws = workspace if isinstance(workspace, Workspace) else open(workspace)
    it, bundle = prepared(ws.version_store, model)
    files, _ = shared(session(None, 0), bundle)

    def score(*columns: Any) -> Any:
        return _as_struct(it.answered(_frame(it, columns), files), ddl)

    ddl = {**{name: named(kind) for name, kind in it.answers.items()}, VERSION: "bigint", ERROR: "string"}
    kind = f"struct<{', '.join(f'`{name}`: {type_}' for name, type_ in ddl.items())}>"
    found = functions.arrow_udf(score, kind, functions.ArrowUDFType.SCALAR)
    found.__doc__ = f"The answers of {it.model}@{it.version}."
    return found


def _frame(it: Answering, columns: tuple[Any, ...]) -> pl.DataFrame:
    """The columns of a call as a frame.

    Raises:
        InvalidInput: they are neither a struct nor as many as the features.
    """
    found = [pl.Series(pl.from_arrow(column)) for column in columns]
    if len(found) == 1 and found[0].dtype == pl.Struct:
        return found[0].struct.unnest()
    if len(found) != len(it.features):
        raise InvalidInput(
            f"{it.model}@{it.version} got {len(found)} columns.",
            expected=f"one struct, or the columns {', '.join(it.features)} in this order",
            todo="Give it struct(*).",
        )
    return pl.DataFrame([series.alias(name) for series, name in zip(found, it.features, strict=True)])


def _as_struct(answers: pl.DataFrame, ddl: dict[str, str]) -> Any:
    import pyarrow

    table = answers.to_arrow()
    types = {"string": pyarrow.string()}
    columns = [
        column.combine_chunks().cast(types.get(ddl[name], column.type))
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pyarrow.StructArray.from_arrays(columns, names=table.column_names)


def named(kind: Any) -> str:
    """The name of a type of Polars in Spark."""
    if isinstance(kind, pl.List | pl.Array):
        return f"array<{named(kind.inner)}>"
    return NAMES.get(kind, "string")
