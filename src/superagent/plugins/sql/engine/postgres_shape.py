"""What a table of PostgreSQL is to a change: its key, its columns, and what stands against taking a change back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .names import Named
from .session import Child, Shape

Rows = Callable[..., list[list[Any]]]

# what its defaults, its checks and those of its columns' types call; 12 and 13 are the languages `internal` and `c`
_TABLE = """SELECT c.oid, c.relkind::text, c.relhasrules, c.relrowsecurity,
    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t
      WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'),
    EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid OR i.inhrelid = c.oid),
    EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
      WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass AND p.provolatile = 'v' AND p.prolang NOT IN (12, 13)
      AND (d.classid = 'pg_catalog.pg_attrdef'::regclass
          AND d.objid IN (SELECT f.oid FROM pg_catalog.pg_attrdef f WHERE f.adrelid = c.oid)
        OR d.classid = 'pg_catalog.pg_constraint'::regclass
          AND d.objid IN (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid OR k.contypid
            IN (SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid))))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s"""
_COLUMNS = """SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attgenerated::text
    FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_KEY = """SELECT a.attname FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) k(at)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.at
    WHERE i.indrelid = %s AND i.indisprimary"""
_CHILDREN = """SELECT n.nspname, c.relname, f.confdeltype::text, f.confupdtype::text,
    ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY k(at, o)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.at ORDER BY o),
    ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY k(at, o)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.at ORDER BY o)
    FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE f.confrelid = %s AND f.contype = 'f'
    AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))"""


def shape(rows: Rows, table: Named) -> Shape:
    """Read the catalogue of one table, which exists."""
    oid, kind, rules, policies, triggers, inherits, calls = rows(_TABLE, (table.schema, table.name))[0]
    columns = rows(_COLUMNS, (oid,))
    key = tuple(one[0] for one in rows(_KEY, (oid,)))
    children = tuple(
        Child(Named(one[0], one[1]), tuple(one[4]), tuple(one[5]), one[2] in "cnd", one[3] in "cnd")
        for one in rows(_CHILDREN, (oid,))
    )
    against = (
        "it is no plain table" if kind != "r"
        else "triggers change more than the statement says" if triggers
        else "rules rewrite what is done to it" if rules
        else "it has policies for rows, so that not every row is seen" if policies
        else "it is part of others" if inherits
        else "its defaults or checks call a function that may change more" if calls
        else "it has no primary key" if not key
        else ""
    )  # fmt: skip
    return Shape(
        columns=tuple(one[0] for one in columns),
        stored=tuple(one[0] for one in columns if not one[2]),
        key=key,
        types={one[0]: one[1] for one in columns},
        children=children,
        against=against,
    )
