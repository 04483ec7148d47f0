"""What people are told, by mail and webhook."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table of notices."""
    texts = ("about", "model", "kind", "receiver")
    moments = ("created", "due", "delivered", "given_up")
    op.create_table(
        "notices",
        sa.Column("id", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in texts),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in moments),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("notices_by_due", "notices", ["delivered", "given_up", "due"])
    op.create_index("notices_by_time", "notices", ["created"])
