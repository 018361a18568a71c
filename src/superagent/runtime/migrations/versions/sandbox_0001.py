"""Make the table of the users that tenants' commands run as."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "sandbox_0001", None, ("sandbox",), None


def upgrade() -> None:
    op.create_table(
        "sandbox_users",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("user", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_sandbox_users"),
        sa.UniqueConstraint("user", name="uq_sandbox_users_user"),
    )
