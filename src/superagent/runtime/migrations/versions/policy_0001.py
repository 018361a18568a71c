"""Make the tables of policy."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "policy_0001", None, ("policy",), None
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make versions, spans and proposals."""
    op.create_table(
        "policy_versions",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "number", name="pk_policy_versions"),
    )
    op.create_table(
        "policy_spans",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(64), nullable=False),
        sa.Column("since", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("until", _NUMBER),
        sa.PrimaryKeyConstraint("tenant", "grant_id", "since", name="pk_policy_spans"),
    )
    op.create_table(
        "policy_proposals",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added", sa.Text(), nullable=False),
        sa.Column("removed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("version", _NUMBER),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_policy_proposals"),
    )
