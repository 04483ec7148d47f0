"""Where the rows of a snapshot came from, and what was found about them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add two columns to snapshots."""
    op.add_column("snapshots", sa.Column("origin", sa.JSON(), nullable=True))
    op.add_column("snapshots", sa.Column("findings", sa.JSON(), nullable=True))
