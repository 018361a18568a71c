"""What a statement uses by PostgreSQL's own word: the tables of its plan, of views and types, and what those call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from .names import Named, Statement
from .postgres_piped import Command, Result

SYSTEM = ("pg_catalog", "information_schema", "pg_toast")
# in one answer: the relations that are meant and all beneath them, what views among them call, what is not harmless;
# operators of an extension in C are taken as they are (12 and 13 are the languages `internal` and `c`)
_USED = """WITH RECURSIVE need(oid) AS (SELECT c.oid
      FROM unnest(%s::text[], %s::text[]) asked(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = asked.name
    UNION SELECT d.refobjid FROM need n JOIN pg_catalog.pg_rewrite r ON r.ev_class = n.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass)
    SELECT 'relation', s.nspname::text, c.relname::text FROM need JOIN pg_catalog.pg_class c USING (oid)
      JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
    UNION SELECT 'called', p.proname::text, '' FROM need JOIN pg_catalog.pg_class v USING (oid)
      JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass)
      LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
      JOIN pg_catalog.pg_proc p ON p.oid = COALESCE(o.oprcode, d.refobjid)
      WHERE v.relkind IN ('v', 'm') AND p.pronamespace <> 'pg_catalog'::regnamespace
      AND (o.oid IS NULL OR p.prolang NOT IN (12, 13))
    UNION SELECT 'volatile', proname::text, '' FROM pg_catalog.pg_proc
      WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY(%s::text[]) AND provolatile = 'v'"""
# types of rows are as good as their tables, and a domain or a cast may call anything
_TYPES = """WITH RECURSIVE kind(oid) AS (SELECT t.oid
      FROM unnest(%s::text[], %s::text[]) asked(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
      JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = asked.name
    UNION SELECT b.oid FROM kind k JOIN pg_catalog.pg_type t ON t.oid = k.oid
      CROSS JOIN LATERAL (SELECT unnest(ARRAY[t.typbasetype, t.typelem]) UNION ALL SELECT a.atttypid
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0) b(oid) WHERE b.oid <> 0)
    SELECT 'relation', n.nspname::text, c.relname::text FROM kind JOIN pg_catalog.pg_type t USING (oid)
      JOIN pg_catalog.pg_class c ON c.oid = t.typrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind <> 'c'
    UNION SELECT 'called', p.proname::text, '' FROM kind JOIN pg_catalog.pg_constraint x ON x.contypid = kind.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = x.oid
      AND d.refclassid = 'pg_catalog.pg_proc'::regclass
      JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid WHERE p.pronamespace <> 'pg_catalog'::regnamespace
    UNION SELECT 'called', p.proname::text, '' FROM kind
      JOIN pg_catalog.pg_cast x ON kind.oid IN (x.castsource, x.casttarget)
      JOIN pg_catalog.pg_proc p ON p.oid = x.castfunc WHERE p.prolang NOT IN (12, 13)
    UNION SELECT 'nothing', asked.schema, asked.name FROM unnest(%s::text[], %s::text[]) asked(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
      LEFT JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = asked.name WHERE t.oid IS NULL"""
_HEIRS = """WITH RECURSIVE heir(oid) AS (SELECT c.oid FROM unnest(%s::text[], %s::text[]) asked(schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = asked.name
    UNION SELECT i.inhrelid FROM heir JOIN pg_catalog.pg_inherits i ON i.inhparent = heir.oid)
    SELECT 'relation', n.nspname::text, c.relname::text FROM heir JOIN pg_catalog.pg_class c USING (oid)
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f')"""


def used(statement: Statement, named: frozenset[Named]) -> Command:
    """Ask which relations these are and lie beneath them, what views call, and which calls do more than reckon."""
    return _USED, (*_asked(named), _array(statement.calls))


def typed(statement: Statement) -> Command:
    """Ask for what may be types of a statement: the tables whose rows they are, and what they call."""
    return _TYPES, _asked(statement.types) * 2


def heirs(named: frozenset[Named]) -> Command:
    """Ask for all that is part of these."""
    return _HEIRS, _asked(named)


def told_of(answer: Result) -> dict[str, set[Named]]:
    """Read an answer: `relation`, `called` and `volatile`, the latter two by their `schema`; `nothing` is not there."""
    told: dict[str, set[Named]] = {"relation": set(), "called": set(), "volatile": set(), "nothing": set()}
    for kind, one, other in answer.rows:
        told[kind].add(Named(one, other))
    return told


def scanned(plan: bytes) -> tuple[frozenset[Named], bool]:
    """Give the tables that a plan reads, and whether those are all: False where parts were left out as it began."""
    found, whole = set[Named](), True
    waiting: list[Any] = [msgspec.json.decode(plan)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += cast("list[Any]", one)
        elif isinstance(one, dict):
            node = cast("dict[str, Any]", one)
            if "Relation Name" in node:
                found.add(Named(node["Schema"], node["Relation Name"]))
            whole = whole and not node.get("Subplans Removed")
            waiting += [inside for inside in node.values() if isinstance(inside, list | dict)]
    return frozenset(found), whole


def _asked(named: Iterable[Named]) -> tuple[str, str]:
    some = list(named)
    return _array(one.schema for one in some), _array(one.name for one in some)


def _array(names: Iterable[str]) -> str:
    # as the server reads one (PostgreSQL manual, 8.15.2); the driver takes ten times as long to make the same
    return "{" + ",".join('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in names) + "}"
