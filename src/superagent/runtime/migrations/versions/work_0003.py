"""Make invocations jobs: when they ran, what they continue, who may see them, what they log, what is asked of them."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "work_0003", "work_0002", None, None


def upgrade() -> None:
    for column in (
        sa.Column("started", sa.Double, nullable=True),
        sa.Column("ended", sa.Double, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=True),
        sa.Column("retry_of", sa.String(26), nullable=True),
        sa.Column("schedule", sa.String(26), nullable=True),
        sa.Column("name", sa.String(100), nullable=True),
    ):
        op.add_column("work_invocations", column)
    op.create_table(
        "work_holders",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("person", sa.String(255), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "person", "invocation", name="pk_work_holders"),
    )
    # whoever waits goes on seeing that; for whom it waits stands in what is sealed
    op.execute(
        "INSERT INTO work_holders (tenant, person, invocation) SELECT tenant, principal, invocation FROM work_requests"
    )
    op.create_table(
        "work_logs",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("stream", sa.String(8), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "stream", name="pk_work_logs"),
    )
    op.create_table(
        "work_log_parts",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("stream", sa.String(8), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "stream", "end", name="pk_work_log_parts"),
    )
    op.create_table(
        "work_orders",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_work_orders"),
    )
    op.create_table(
        "work_schedules",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due", sa.Double, nullable=True),
        sa.Column("last", sa.String(26), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_work_schedules"),
    )
    op.create_index("ix_work_schedules_state_due", "work_schedules", ["state", "due"])
