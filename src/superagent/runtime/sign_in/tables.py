"""The tables of sign-in: browser sessions, passwords, second factors, steps half done, accounts elsewhere."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, String, Text

from superagent.data.areas import Area

AREA = Area("sign_in", "sign_in_0001", Path(__file__).parents[1] / "migrations" / "versions")

SESSIONS = AREA.table(
    "sign_in_sessions",
    Column("id", String(40), primary_key=True),
    Column("digest", String(64), nullable=False),  # SHA-256 of the token, which is stored nowhere
    Column("person", String(64), nullable=False),
    Column("way", String(16), nullable=False),  # password, passkey, link, recover, provider
    Column("client", String(200), nullable=False),
    Column("created_at", Double, nullable=False),  # epoch seconds, as all below
    Column("seen_at", Double, nullable=False),
    Column("mfa_at", Double),
    Column("ends_at", Double, nullable=False),
    Column("ended_at", Double),
    Index("ix_sign_in_sessions_digest", "digest", unique=True),
    Index("ix_sign_in_sessions_id", "id", unique=True),
    Index("ix_sign_in_sessions_tenant_person", "tenant", "person"),
)
PASSWORDS = AREA.table(
    "sign_in_passwords",
    Column("person", String(64), primary_key=True),
    Column("hash", Text, nullable=False),  # argon2id, PHC string
    Column("changed_at", Double, nullable=False),
)
FACTORS = AREA.table(
    "sign_in_factors",
    Column("id", String(40), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # passkey, totp, recovery
    Column("name", String(100), nullable=False),
    Column("lookup", String(64), nullable=False),  # SHA-256 of the credential id or of the recovery code, else empty
    Column("data", LargeBinary, nullable=False),  # credential data, or the sealed secret
    Column("place", String(255), nullable=False),  # a passkey's relying party
    Column("counter", BigInteger, nullable=False),  # the last signature count, or time step, that was taken
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    Index("ix_sign_in_factors_lookup", "lookup"),
    Index("ix_sign_in_factors_tenant_person", "tenant", "person"),
)
PENDING = AREA.instance_table(
    "sign_in_pending",
    Column("digest", String(64), primary_key=True),
    Column("kind", String(24), nullable=False),
    Column("owner", String(64), nullable=False),  # the tenant, empty while nobody is known
    Column("person", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),  # JSON, sealed: it can hold a secret about to be enrolled
    Column("until", Double, nullable=False),
    Index("ix_sign_in_pending_until", "until"),
)
EXTERNAL = AREA.table(
    "sign_in_external",
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
)
