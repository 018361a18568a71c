"""Make the table of who holds, or once held, what shows somebody else to be themselves."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "identity_0003", "identity_0002", None, None


def upgrade() -> None:
    op.create_table(
        "identity_hands",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "person", "by", "how", name="pk_identity_hands"),
    )
