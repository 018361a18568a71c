"""Make the table of hooks."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "hooks_0001", None, ("hooks",), None


def upgrade() -> None:
    op.create_table(
        "hooks",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("said", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "id", name="pk_hooks"),
    )
    op.create_index("ix_hooks_due", "hooks", ["due"])
    op.create_index("ix_hooks_tenant_principal", "hooks", ["tenant", "principal"])
