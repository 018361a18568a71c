"""An area for tests: two tables of tenants and one of the installation, with migrations written into a folder."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Double, Index, Integer, String, Table

from superagent.data.areas import NUMBER, Area

FIRST = '''"""Make the tables of shop."""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "shop_0001", None, ("shop",), None


def upgrade():
    op.create_table(
        "shop_goods",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_shop_goods"),
    )
    op.create_index("ix_shop_goods_tenant_price", "shop_goods", ["tenant", "price"])
    op.create_table(
        "shop_sales",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("good", sa.String(26), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shop_sales"),
    )
    op.create_table(
        "shop_tills",
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_shop_tills"),
    )
'''


def shop(versions: Path) -> Area:
    """Give the area as its first migration makes it; the migration is written into `versions`."""
    versions.mkdir(exist_ok=True)
    (versions / "shop_0001.py").write_text(FIRST)
    area = Area("shop", "shop_0001", versions)
    area.table(
        "shop_goods",
        Column("id", String(26), primary_key=True),
        Column("price", Double, nullable=False),
        Index(None, "tenant", "price"),
    )
    area.table(
        "shop_sales",
        Column("id", NUMBER, primary_key=True, autoincrement=True),
        Column("good", String(26), nullable=False),
    )
    area.instance_table("shop_tills", Column("name", String(64), primary_key=True))
    return area


def shop_with_names(versions: Path) -> Area:
    """Give the next version of the area: goods have a name and a count."""
    area = shop(versions)
    (versions / "shop_0002.py").write_text(
        '"""Name the goods."""\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        'revision, down_revision, branch_labels, depends_on = "shop_0002", "shop_0001", None, None\n\n\n'
        "def upgrade():\n"
        '    op.add_column("shop_goods", sa.Column("name", sa.String(40), nullable=True))\n'
        '    op.add_column("shop_goods", sa.Column("left", sa.Integer(), nullable=True))\n'
    )
    area.head = "shop_0002"
    area.metadata.tables["shop_goods"].append_column(Column("name", String(40)))
    area.metadata.tables["shop_goods"].append_column(Column("left", Integer))
    return area


def table(area: Area, name: str) -> Table:
    """Give one of the area's tables."""
    return area.metadata.tables[f"shop_{name}"]
