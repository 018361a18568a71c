"""Keep a tenant's sum beside the shares it is made of: a change counts both in one statement."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "undo_0004", "undo_0003", None, None


def upgrade() -> None:
    op.execute(
        "INSERT INTO undo_shares (tenant, principal, bytes, entries)"
        " SELECT tenant, '', bytes, (SELECT count(*) FROM undo_entries WHERE undo_entries.tenant = undo_usage.tenant)"
        " FROM undo_usage"
    )
    op.drop_table("undo_usage")
