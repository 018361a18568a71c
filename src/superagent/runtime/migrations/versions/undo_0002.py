"""Make the tables of what led to a change and of what each principal uses, and fill them as far as can be known."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "undo_0002", "undo_0001", None, None


def upgrade() -> None:
    op.create_table(
        "undo_callers",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("place", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("invocation", sa.String(26), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "entry", "place", name="pk_undo_callers"),
    )
    op.create_index("ix_undo_callers_tenant_invocation_entry", "undo_callers", ["tenant", "invocation", "entry"])
    op.create_table(
        "undo_shares",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "principal", name="pk_undo_shares"),
    )
    op.execute(
        "INSERT INTO undo_shares (tenant, principal, bytes, entries)"
        " SELECT tenant, principal, sum(bytes), count(*) FROM undo_entries GROUP BY tenant, principal"
    )
    connection = op.get_bind()
    entries = connection.execute(sa.text("SELECT tenant, id, invocation, parent FROM undo_entries")).all()
    parents = {(tenant, invocation): parent for tenant, _, invocation, parent in entries}
    rows: list[dict[str, str | int]] = []
    for tenant, entry, invocation, _ in entries:
        family = [invocation]
        while (above := parents.get((tenant, family[0]), "")) and above not in family:
            family.insert(0, above)
        rows += [{"t": tenant, "e": entry, "p": place, "i": one} for place, one in enumerate(family[:-1])]
    if rows:
        connection.execute(
            sa.text("INSERT INTO undo_callers (tenant, entry, place, invocation) VALUES (:t, :e, :p, :i)"), rows
        )
