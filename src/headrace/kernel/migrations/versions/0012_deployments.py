"""What was put on which target, and the tests of projects."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("target", "kind", "status")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("image", "folder")),
        sa.Column("rendered", sa.JSON(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("created", "ended")),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_index("deployments_by_target", "deployments", ["model", "target", "id"])
    op.create_table(
        "model_tests",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("model_tests_by_version", "model_tests", ["model", "number", "id"])
