"""Say against whose share each row counts: an agent's, also of all it lent its rights to."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "idempotency_0003", "idempotency_0002", None, None


def upgrade() -> None:
    op.add_column("idempotency_calls", sa.Column("account", sa.String(255), nullable=False, server_default=""))
    op.execute("UPDATE idempotency_calls SET account = principal")
