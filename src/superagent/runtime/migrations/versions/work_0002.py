"""Make the table of requests that wait, by who asked and for what."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "work_0002", "work_0001", None, None


def upgrade() -> None:
    op.create_table(
        "work_requests",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", name="pk_work_requests"),
    )
    op.create_index("ix_work_requests_tenant_principal_mark", "work_requests", ["tenant", "principal", "mark"])
