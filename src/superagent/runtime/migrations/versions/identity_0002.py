"""Make agents, groups, custom roles, stops and budgets; every agent key there is gets its agent."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "identity_0002", "identity_0001", None, None


def upgrade() -> None:
    op.add_column("identity_tenants", sa.Column("state", sa.String(16), server_default="active", nullable=False))
    op.add_column("identity_people", sa.Column("name", sa.String(200), server_default="", nullable=False))
    for name, length in (("label", 64), ("above", 64), ("bounds", 0), ("limits", 0), ("why", 200)):
        kind = sa.String(length) if length else sa.Text()
        op.add_column("identity_keys", sa.Column(name, kind, server_default="", nullable=False))
    op.execute("UPDATE identity_keys SET label = 'owner.key' WHERE kind = 'human'")
    op.create_table(
        "identity_agents",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("parent", sa.String(255), nullable=False),
        sa.Column("role", sa.String(64)),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_agents"),
    )
    op.create_index("ix_identity_agents_tenant_owner", "identity_agents", ["tenant", "owner"])
    _fill_agents()
    op.create_table(
        "identity_groups",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_groups"),
    )
    op.create_table(
        "identity_members",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("member", sa.String(255), nullable=False),
        sa.Column("group", sa.String(64), nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "member", "group", name="pk_identity_members"),
    )
    op.create_table(
        "identity_roles",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_roles"),
    )
    op.create_table(
        "identity_stops",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("released_at", sa.Double),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_stops"),
    )
    op.create_table(
        "identity_spent",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("measure", sa.String(16), nullable=False),
        sa.Column("began", sa.Double, nullable=False),
        sa.Column("amount", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject", "measure", "began", name="pk_identity_spent"),
    )
    op.create_table(
        "identity_ended",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_identity_ended"),
    )
    op.create_index("ix_identity_ended_tenant_key", "identity_ended", ["tenant", "key"])


def _fill_agents() -> None:
    """Make an agent of each name: as its last key said that was not revoked, for a name could be given again."""
    connection = op.get_bind()
    columns = "tenant, principal, created_by, role, workspace, created_at"
    rows = connection.execute(
        sa.text(
            f"SELECT {columns} FROM identity_keys WHERE kind = 'agent'"  # noqa: S608 - names of columns
            " ORDER BY CASE WHEN revoked_at IS NULL THEN 1 ELSE 0 END, created_at, id"
        )
    ).mappings()
    agents = {(row["tenant"], row["principal"]): dict(row) for row in rows}
    if agents:
        connection.execute(
            sa.text(
                "INSERT INTO identity_agents"
                " (tenant, id, kind, owner, parent, role, workspace, state, budget, created_at) VALUES"
                " (:tenant, :principal, 'agent', :created_by, '', :role, :workspace, 'active', '', :created_at)"
            ),
            [*agents.values()],
        )
