"""Digests of a snapshot's rows and columns, proofs, and holds."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add two columns to the snapshots, and two tables."""
    op.add_column("snapshots", sa.Column("row_digests", sa.String(), nullable=False, server_default=""))
    op.add_column("snapshots", sa.Column("column_digests", sa.JSON(), nullable=True))
    op.create_table(
        "proofs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("proofs_by_version", "proofs", ["model", "number", "id"])
    op.create_table(
        "holds",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
