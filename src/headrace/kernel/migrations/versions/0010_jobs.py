"""Batch jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table of jobs."""
    texts = ("source", "destination", "result", "rejects")
    words = ("model", "bundle", "identity", "status", "created_by", "created", "started", "ended", "digest", "host")
    rows = ("scored", "rejected", "rows")
    numbers = ("version", "chunks", "chunks_done", "pid", "attempts")
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in words),
        sa.Column("beat", sa.String(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in rows),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in numbers),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.Column("served", sa.Float(), nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_by_status", "jobs", ["status"])
    op.create_index("jobs_by_identity", "jobs", ["identity"])
