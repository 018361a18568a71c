"""Make the table of large inputs and results."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "blobs_0001", None, ("blobs",), None


def upgrade() -> None:
    op.create_table(
        "blobs_handles",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("handle", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "handle", name="pk_blobs_handles"),
    )
    op.create_index("ix_blobs_handles_until", "blobs_handles", ["until"])
