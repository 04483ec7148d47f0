"""What was put on which target."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
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
