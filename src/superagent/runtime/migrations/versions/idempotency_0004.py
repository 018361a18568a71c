"""Find what is remembered of a call by its invocation."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "idempotency_0004", "idempotency_0003", None, None


def upgrade() -> None:
    op.create_index("ix_idempotency_calls_invocation", "idempotency_calls", ["invocation"])
