"""Make the counters of what changed for every host."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "epochs_0001", None, ("epochs",), None


def upgrade() -> None:
    op.create_table(
        "epochs_counters",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_epochs_counters"),
    )
