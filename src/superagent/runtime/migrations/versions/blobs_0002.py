"""Make the index by which the share of one principal is added up."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "blobs_0002", "blobs_0001", None, None


def upgrade() -> None:
    op.create_index("ix_blobs_handles_tenant_principal_size", "blobs_handles", ["tenant", "principal", "size"])
