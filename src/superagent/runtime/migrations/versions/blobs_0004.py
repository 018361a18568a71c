"""Say within which bounds each handle was stored: a narrower key of the same holder does not see it."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "blobs_0004", "blobs_0003", None, None


def upgrade() -> None:
    op.add_column("blobs_handles", sa.Column("seen_by", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE blobs_handles SET seen_by = principal")  # of older ones nobody knows: only who has no bounds
