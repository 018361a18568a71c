"""Make the tables of the audit index."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "audit_0001", None, ("audit",), None


def upgrade() -> None:
    op.create_table(
        "audit_records",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("invocation", sa.String(64), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("human", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(255), nullable=False),
        sa.Column("chain", sa.String(255), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_records"),
    )
    for columns in (["number"], ["at"], ["who", "at"], ["human", "at"], ["operation", "at"], ["invocation"]):
        op.create_index(f"ix_audit_records_tenant_{'_'.join(columns)}", "audit_records", ["tenant", *columns])
    op.create_table(
        "audit_resources",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(1024), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "resource", "at", "number", name="pk_audit_resources"),
    )
    op.create_table(
        "audit_chains",
        sa.Column("chain", sa.String(255), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_chains"),
    )
