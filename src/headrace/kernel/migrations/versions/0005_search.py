"""What versions and runs are found by: a line of words, and metrics."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add columns and a table, and fill them for what is there."""
    op.add_column("versions", sa.Column("words", sa.Text(), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("words", sa.Text(), nullable=False, server_default=""))
    op.drop_index("runs_by_model", "runs")
    op.create_index("runs_by_model", "runs", ["model", "id"])
    _runs(op.get_bind())
    metrics = op.create_table(
        "version_metrics",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("model", "number", "metric"),
    )
    op.create_index("version_metrics_by_value", "version_metrics", ["metric", "value"])
    op.create_index("versions_by_time", "versions", ["created"])
    connection = op.get_bind()
    table = _table("versions", "model", "number", "document", "words")
    for row in connection.execute(sa.select(table)).all():
        document = json.loads(row.document)
        lineage = document.get("lineage", {})
        facts = [f"{row.model}@{row.number}", document.get("digest", ""), document.get("created_by", "")]
        words = " ".join([*facts, *(str(value) for value in lineage.values() if value)]).lower()
        here = (table.c.model == row.model) & (table.c.number == row.number)
        connection.execute(table.update().where(here).values(words=words))
        for name, metric in document.get("metrics", {}).items():
            values = {"model": row.model, "number": row.number, "metric": name, "value": metric["value"]}
            connection.execute(metrics.insert().values(values))


def _runs(connection: sa.Connection) -> None:
    table = _table("runs", "id", "model", "reason", "created_by", "code", "words", "params")
    for row in connection.execute(sa.select(table)).all():
        given: dict[str, object] = json.loads(row.params or "{}")
        params = [f"{name}={value}" for name, value in given.items()]
        words = " ".join([row.id, row.model, row.reason, row.created_by, row.code, *params]).lower()
        connection.execute(table.update().where(table.c.id == row.id).values(words=words))


def _table(name: str, *columns: str) -> sa.TableClause:
    every: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns]
    return sa.table(name, *every)
