"""Make the table of taint marks."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "taint_0001", None, ("taint",), None


def upgrade() -> None:
    op.create_table(
        "taint_marks",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_taint_marks"),
    )
    op.create_index("ix_taint_marks_tenant_kind", "taint_marks", ["tenant", "kind"])
