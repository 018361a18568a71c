"""Make the tables of stored work: invocations, approvals, streams of events, timers and the outbox."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "work_0001", None, ("work",), None


def upgrade() -> None:
    op.create_table(
        "work_invocations",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("approvals_needed", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_work_invocations"),
    )
    op.create_index("ix_work_invocations_tenant_state_id", "work_invocations", ["tenant", "state", "id"])
    op.create_index("ix_work_invocations_state_owner", "work_invocations", ["state", "owner"])
    op.create_table(
        "work_approvals",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("person", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "person", name="pk_work_approvals"),
    )
    op.create_table(
        "work_streams",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", name="pk_work_streams"),
    )
    op.create_table(
        "work_events",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "number", name="pk_work_events"),
    )
    op.create_table(
        "work_timers",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("due", sa.Double, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", name="pk_work_timers"),
    )
    op.create_index("ix_work_timers_due", "work_timers", ["due"])
    op.create_table(
        "work_outbox",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", name="pk_work_outbox"),
    )
    op.create_index("ix_work_outbox_at", "work_outbox", ["at"])
