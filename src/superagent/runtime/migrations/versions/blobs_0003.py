"""Say against whose share each row counts: an agent's, also of all it lent its rights to."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "blobs_0003", "blobs_0002", None, None


def upgrade() -> None:
    op.add_column("blobs_handles", sa.Column("account", sa.String(255), nullable=False, server_default=""))
    op.execute("UPDATE blobs_handles SET account = principal")
    op.drop_index("ix_blobs_handles_tenant_principal_size", "blobs_handles")
    op.create_index("ix_blobs_handles_tenant_account_size", "blobs_handles", ["tenant", "account", "size"])
