"""Make the tables of secrets."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "secrets_0001", None, ("secrets",), None


def upgrade() -> None:
    op.create_table(
        "secrets_names",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("entry", sa.String(26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("replaced", sa.Integer(), nullable=False),
        sa.Column("overlap_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_secrets_names"),
    )
    op.create_table(
        "secrets_versions",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("entry", sa.String(26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("use", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("until", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "entry", "version", name="pk_secrets_versions"),
    )
    op.create_index("ix_secrets_versions_tenant_name", "secrets_versions", ["tenant", "name"])
    op.create_index("ix_secrets_versions_until", "secrets_versions", ["until"])
