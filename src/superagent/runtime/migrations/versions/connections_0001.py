"""Make the table of connections."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "connections_0001", None, ("connections",), None


def upgrade() -> None:
    op.create_table(
        "connections_entries",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("host", sa.String(300), nullable=False),
        sa.Column("secret", sa.String(128), nullable=False),
        sa.Column("secret_entry", sa.String(26), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_connections_entries"),
    )
