"""Make the tables of sign-in."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "sign_in_0001", None, ("sign_in",), None


def upgrade() -> None:
    op.create_table(
        "sign_in_sessions",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("client", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("mfa_at", sa.Double, nullable=True),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_sign_in_sessions"),
    )
    op.create_index("ix_sign_in_sessions_digest", "sign_in_sessions", ["digest"], unique=True)
    op.create_index("ix_sign_in_sessions_id", "sign_in_sessions", ["id"], unique=True)
    op.create_index("ix_sign_in_sessions_tenant_person", "sign_in_sessions", ["tenant", "person"])
    op.create_table(
        "sign_in_passwords",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "person", name="pk_sign_in_passwords"),
    )
    op.create_table(
        "sign_in_factors",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("lookup", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.String(255), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_sign_in_factors"),
    )
    op.create_index("ix_sign_in_factors_lookup", "sign_in_factors", ["lookup"])
    op.create_index("ix_sign_in_factors_tenant_person", "sign_in_factors", ["tenant", "person"])
    op.create_table(
        "sign_in_pending",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_sign_in_pending"),
    )
    op.create_index("ix_sign_in_pending_until", "sign_in_pending", ["until"])
    op.create_table(
        "sign_in_external",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "issuer", "subject", name="pk_sign_in_external"),
    )
