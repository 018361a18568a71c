"""Index blocks of lines instead of single records; the segments are read again from their beginning."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "audit_0002", "audit_0001", None, None


def upgrade() -> None:
    for table in ("audit_records", "audit_resources", "audit_chains"):
        op.drop_table(table)
    op.create_table(
        "audit_blocks",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(255), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("oldest", sa.Double, nullable=False),
        sa.Column("newest", sa.Double, nullable=False),
        sa.Column("actors", sa.Text(), nullable=False),
        sa.Column("operations", sa.Text(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "number", name="pk_audit_blocks"),
    )
    columns = ["tenant", "newest", "number", "oldest"]
    op.create_index(f"ix_audit_blocks_{'_'.join(columns)}", "audit_blocks", columns)
    op.create_table(
        "audit_strays",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("invocation", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "invocation", "number", name="pk_audit_strays"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_chains",
        sa.Column("chain", sa.String(255), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.Integer(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_chains"),
    )
