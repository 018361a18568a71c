"""Make the tables of what is kept for undo."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "undo_0001", None, ("undo",), None


def upgrade() -> None:
    op.create_table(
        "undo_entries",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.Column("parent", sa.String(26), nullable=False),
        sa.Column("operation", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("session", sa.String(255), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("effect", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("before", sa.String(128), nullable=True),
        sa.Column("after", sa.String(128), nullable=True),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("undone_by", sa.String(26), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_undo_entries"),
    )
    op.create_index("ix_undo_entries_tenant_invocation", "undo_entries", ["tenant", "invocation"])
    op.create_index("ix_undo_entries_tenant_parent", "undo_entries", ["tenant", "parent"])
    op.create_index("ix_undo_entries_tenant_session", "undo_entries", ["tenant", "session"])
    op.create_index("ix_undo_entries_until", "undo_entries", ["until"])
    op.create_table(
        "undo_actors",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("place", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "entry", "place", name="pk_undo_actors"),
    )
    op.create_index("ix_undo_actors_tenant_principal_entry", "undo_actors", ["tenant", "principal", "entry"])
    op.create_table(
        "undo_usage",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_undo_usage"),
    )
