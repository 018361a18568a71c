"""Make the table of calls that must not happen twice."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "idempotency_0001", None, ("idempotency",), None


def upgrade() -> None:
    op.create_table(
        "idempotency_calls",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(200), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "principal", "operation", "key", name="pk_idempotency_calls"),
    )
    op.create_index("ix_idempotency_calls_until", "idempotency_calls", ["until"])
