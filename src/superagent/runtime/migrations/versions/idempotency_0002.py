"""Make the table of what remembered calls take, and add up those that there are."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "idempotency_0002", "idempotency_0001", None, None


def upgrade() -> None:
    op.create_table(
        "idempotency_usage",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "principal", name="pk_idempotency_usage"),
    )
    op.execute(
        "INSERT INTO idempotency_usage (tenant, principal, bytes)"
        " SELECT tenant, principal, sum(1024 + coalesce(length(outcome), 0)) FROM idempotency_calls"
        " GROUP BY tenant, principal"
    )
