"""Make the tables of identity."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "identity_0001", None, ("identity",), None


def upgrade() -> None:
    """Make tenants, people, keys and grants."""
    op.create_table(
        "identity_tenants",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_tenants"),
    )
    op.create_table(
        "identity_people",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_people"),
    )
    op.create_table(
        "identity_keys",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("public", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("principal", sa.String(64), nullable=False),
        sa.Column("role", sa.String(64)),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_keys"),
    )
    op.create_index("ix_identity_keys_id", "identity_keys", ["id"], unique=True)
    op.create_table(
        "identity_grants",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_grants"),
    )
