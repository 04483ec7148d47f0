"""Schedules of batch jobs, and the files that they scored."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "schedules",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("model", "name", "fired", "job")),
        sa.Column("after", sa.JSON()),
        sa.Column("until", sa.JSON()),
        sa.PrimaryKeyConstraint("model", "name"),
    )
    op.create_table(
        "scheduled_files",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("model", "name")),
        sa.Column("path", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("size", "stamp")),
        sa.Column("job", sa.String(), nullable=False),
    )
    op.create_index("scheduled_files_by_name", "scheduled_files", ["model", "name"])
