"""Say against whose share each row counts: an agent's, also of all it lent its rights to."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "undo_0003", "undo_0002", None, None


def upgrade() -> None:
    op.add_column("undo_entries", sa.Column("account", sa.String(255), nullable=False, server_default=""))
    op.execute("UPDATE undo_entries SET account = principal")
