"""Make the tables of authorization."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "oauth_0001", None, ("oauth",), None


def upgrade() -> None:
    op.create_table(
        "oauth_clients",
        _tenant(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("former", sa.String(64)),
        sa.Column("former_until", sa.Double),
        sa.Column("redirects", sa.Text(), nullable=False),
        sa.Column("flows", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("role", sa.String(64)),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_oauth_clients"),
    )
    op.create_index("ix_oauth_clients_id", "oauth_clients", ["id"], unique=True)
    op.create_table(
        "oauth_consents",
        _tenant(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("client_name", sa.String(100), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("flow", sa.String(64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("audiences", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.Column("why", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_oauth_consents"),
    )
    op.create_index("ix_oauth_consents_id", "oauth_consents", ["id"], unique=True)
    op.create_table(
        "oauth_codes",
        _tenant(),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("consent", sa.String(64), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("redirect", sa.Text(), nullable=False),
        sa.Column("challenge", sa.String(128), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_oauth_codes"),
    )
    op.create_index("ix_oauth_codes_digest", "oauth_codes", ["digest"], unique=True)
    op.create_table(
        "oauth_refresh",
        _tenant(),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("consent", sa.String(64), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_oauth_refresh"),
    )
    op.create_index("ix_oauth_refresh_digest", "oauth_refresh", ["digest"], unique=True)
    _devices()


def _devices() -> None:
    op.create_table(
        "oauth_devices",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_code", sa.String(16), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("client_name", sa.String(100), nullable=False),
        sa.Column("client_tenant", sa.String(64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("audiences", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("polled_at", sa.Double, nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("approved_in", sa.String(64), nullable=False),
        sa.Column("consent", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_oauth_devices"),
        sa.UniqueConstraint("user_code", name="uq_oauth_devices_user_code"),
    )


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False)
