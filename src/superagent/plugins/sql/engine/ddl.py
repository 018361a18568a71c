"""Statements of migrations: which kinds are taken, which tables each changes, drops or reads; pure.

A migration is sent as it was written, since writing it anew from the tree would change types and options of tables; but
without comments, one statement at a time, and only where there is nothing in it that servers read in ways of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from .dotted import after_a_value, naming
from .names import Named, Refused, Statement
from .parsing import LONGEST, parsed

MOST = 500
_KINDS = ("TABLE", "INDEX", "VIEW")
_ACTIONS = (
    exp.ColumnDef, exp.AlterColumn, exp.ModifyColumn, exp.RenameColumn, exp.AlterRename, exp.AddConstraint, exp.Drop,
)  # fmt: skip
_PROPERTIES = (
    exp.CharacterSetProperty, exp.CollateProperty, exp.StrictProperty, exp.SchemaCommentProperty,
    exp.AutoIncrementProperty,
)  # fmt: skip
_NEVER = (
    exp.Command, exp.Into, exp.Operator, exp.Parameter, exp.SessionParameter, exp.Placeholder, exp.Insert, exp.Update,
    exp.Delete, exp.Merge, exp.Lock, exp.LikeProperty,
)  # fmt: skip
_FUNCTIONS = frozenset({
    "now", "gen_random_uuid", "clock_timestamp", "statement_timestamp", "uuid", "strftime", "datetime", "julianday",
    "unixepoch", "typeof", "json_valid", "char_length", "octet_length", "bit_length", "btrim", "ltrim", "rtrim",
    "to_tsvector", "jsonb_typeof", "regexp_replace", "date_trunc", "iif", "instr", "hex",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a migration. `gone` are tables that it drops, `dropped` columns of the table that it changes."""

    text: str
    kind: str
    changes: frozenset[Named] = frozenset()
    gone: frozenset[Named] = frozenset()
    reads: frozenset[Named] = frozenset()
    indexes: frozenset[str] = frozenset()  # that it drops, by name: whose they are is asked of the server
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()  # columns
    renames: Named | None = None  # what its table is called afterwards
    statement: Statement | None = field(default=None)  # of one that changes rows, or of the query that fills it

    @property
    def table(self) -> Named:
        """Give the one table that it changes, by the name that it has before."""
        return next(one for one in self.changes if one != self.renames)


def steps(text: str, dialect: str, schema: str) -> list[Step]:
    """Read the statements of a migration. Raises `Refused`, naming the first that is not taken."""
    if len(text) > LONGEST * 10 or "\0" in text:
        raise Refused(f"a migration has at most {LONGEST * 10} characters and no NUL")
    found: list[Step] = []
    for one in _split(text, dialect):
        try:
            found.append(_step(one, dialect, schema))
        except Refused as refused:
            raise Refused(f"statement {len(found) + 1}: {refused.message}", refused.hint) from None
        if len(found) > MOST:
            raise Refused(f"a migration has at most {MOST} statements")
    return found


def _split(text: str, dialect: str) -> Iterator[str]:
    """Give each statement without its comments."""
    if "/*!" in text or "/*M!" in text:
        raise Refused("a comment that one server runs and another skips is not taken", "write it as a statement")
    try:
        tokens = sqlglot.tokenize(text, dialect=dialect)
    except (SqlglotError, RecursionError):
        raise Refused("this cannot be read with certainty") from None
    words: list[str] = []
    for at, token in enumerate(tokens):
        if dialect == "postgres" and (naming(token) or (at and after_a_value(tokens[at - 1], token))):
            raise Refused("a type that names other things, and a dot after a value, are not taken", "either may call")
        if token.token_type == TokenType.SEMICOLON:
            if words:
                yield " ".join(words)
            words = []
            continue
        word = text[token.start : token.end + 1]
        if "\\" in word or "$" in word or token.token_type == TokenType.HEREDOC_STRING:
            raise Refused("a backslash or `$` is not taken", "servers read them in ways of their own")
        words.append(word)
    if words:
        yield " ".join(words)


def _step(text: str, dialect: str, schema: str) -> Step:
    try:
        tree = sqlglot.parse_one(text, dialect=dialect)
    except (SqlglotError, RecursionError):
        raise Refused("this is no statement that can be read with certainty", text[:200]) from None
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete):
        for one in tree.find_all(exp.Table):
            if not isinstance(one.this, exp.Func):
                _named(one, dialect, schema)
        statement = parsed(text, dialect, schema)
        if statement.names:
            raise Refused("a migration has no parameters")
        assert statement.target is not None
        return Step(text, statement.kind, frozenset({statement.target}), reads=statement.reads, statement=statement)
    for node in tree.walk():
        _check(node)
    if isinstance(tree, exp.Create):
        return _created(tree, text, dialect, schema)
    if isinstance(tree, exp.Alter) and str(tree.args.get("kind")).upper() == "TABLE":
        return _altered(tree, text, dialect, schema)
    if isinstance(tree, exp.Drop):
        return _dropped(tree, text, dialect, schema)
    raise Refused(f"`{tree.key.upper()}` is not taken", "tables, indexes, views and rows are what a migration changes")


def _check(node: exp.Expr) -> None:
    if isinstance(node, _NEVER):
        raise Refused(f"`{node.key.upper()}` is not taken within a migration", "tables, indexes, views and rows are")
    if isinstance(node, exp.Anonymous) and node.name.lower() not in _FUNCTIONS:
        raise Refused(f"the function `{node.name.lower()}` does not run here", "what it does cannot be known")
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
        raise Refused("a function named by its schema does not run here", "what it does cannot be known")
    if isinstance(node, exp.Property) and not isinstance(node, _PROPERTIES):
        engine = isinstance(node, exp.EngineProperty) and node.name.lower() == "innodb"
        if not engine and not isinstance(node, exp.OnProperty):
            raise Refused(f"the option `{node.name or node.key}` of a table is not taken")


def _created(tree: exp.Create, text: str, dialect: str, schema: str) -> Step:
    kind = str(tree.args.get("kind")).upper()
    if kind not in _KINDS:
        raise Refused(f"`CREATE {kind}` is not taken", "tables, indexes, views and rows are what a migration changes")
    if tree.args.get("concurrently"):
        raise Refused("an index that is built beside others' work cannot be part of a transaction", "leave it out")
    if tree.args.get("replace") and kind == "TABLE":
        raise Refused("`OR REPLACE` would drop a table", "drop it by a statement of its own")
    place = tree.this
    target = place.args.get("table") if isinstance(place, exp.Index) else place
    target = target.this if isinstance(target, exp.Schema) else target
    named = _named(target, dialect, schema)
    inside = tree.args.get("expression")
    query = None if inside is None else parsed(inside.sql(dialect=dialect, comments=False), dialect, schema)
    if query is not None and (query.kind != "select" or query.names):
        raise Refused("what fills a table or a view is one `SELECT`")
    reads = _reads(tree, {id(target)}, dialect, schema)
    return Step(text, f"create {kind.lower()}", frozenset({named}), reads=reads, statement=query)


def _altered(tree: exp.Alter, text: str, dialect: str, schema: str) -> Step:
    actions: list[Any] = tree.args.get("actions") or []
    named = _named(tree.this, dialect, schema)
    skipped, dropped, renamed, renames = {id(tree.this)}, list[str](), list[tuple[str, str]](), None
    if not actions:
        raise Refused("what is to be altered is not plain")
    for action in actions:
        if not isinstance(action, _ACTIONS):
            raise Refused(f"`{action.key.upper()}` is not taken within `ALTER TABLE`")
        if isinstance(action, exp.AlterRename):
            skipped.add(id(action.this))
            renames = Named(named.schema, _named(action.this, dialect, schema).name)
        if isinstance(action, exp.RenameColumn):
            renamed.append((_plain(action.this, dialect), _plain(action.args["to"], dialect)))
        if isinstance(action, exp.ModifyColumn) and action.args.get("rename_from"):
            renamed.append((_plain(action.args["rename_from"], dialect), _plain(action.this, dialect)))
        if isinstance(action, exp.Drop):
            _refuse_cascade(action)
            if str(action.args.get("kind")).upper() == "COLUMN":
                inside = action.find(exp.Identifier)
                dropped.append(_plain(inside, dialect))
                skipped |= {id(one) for one in action.find_all(exp.Table)}
            else:
                skipped |= {id(one) for one in action.find_all(exp.Table)}
    changes = frozenset({named, renames or named})
    return Step(
        text, "alter table", changes, reads=_reads(tree, skipped, dialect, schema), dropped=tuple(dropped),
        renamed=tuple(renamed), renames=renames,
    )  # fmt: skip


def _dropped(tree: exp.Drop, text: str, dialect: str, schema: str) -> Step:
    kind = str(tree.args.get("kind")).upper()
    if kind not in _KINDS:
        raise Refused(f"`DROP {kind}` is not taken", "tables, indexes, views and rows are what a migration changes")
    _refuse_cascade(tree)
    tables: list[Any] = tree.args.get("tables") or ([tree.this] if tree.this else [])
    named = frozenset(_named(one, dialect, schema) for one in tables)
    if kind != "INDEX":
        return Step(text, f"drop {kind.lower()}", gone=named)
    on = tree.args.get("cluster")
    changes = frozenset({_named(one, dialect, schema) for one in on.find_all(exp.Table)}) if on else frozenset[Named]()
    if dialect == "mysql" and not changes:
        raise Refused("the table of the index is not plain", "write `DROP INDEX name ON table`")
    return Step(text, "drop index", changes, indexes=frozenset(one.name for one in named))


def _refuse_cascade(tree: exp.Drop) -> None:
    if tree.args.get("cascade"):
        raise Refused("`CASCADE` drops what nobody named", "drop each by a statement of its own")


def _reads(tree: exp.Expr, skipped: set[int], dialect: str, schema: str) -> frozenset[Named]:
    aliases = {_plain(one.args["alias"].this, dialect) for one in tree.find_all(exp.CTE)}
    found = [one for one in tree.find_all(exp.Table) if id(one) not in skipped]
    named = {_named(one, dialect, schema) for one in found if one.args.get("db") or one.name not in aliases}
    return frozenset(named)


def _named(table: Any, dialect: str, schema: str) -> Named:
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier) or table.args.get("catalog"):
        raise Refused("a table is named by its name, or by schema and name")
    place = table.args.get("db")
    if place and dialect == "mysql":
        raise Refused(
            "a table is named without its database", "a migration is of one database, and is rehearsed in another"
        )
    return Named(_plain(place, dialect) if place else schema, _plain(table.this, dialect))


def _plain(one: Any, dialect: str) -> str:
    inside = one if isinstance(one, exp.Identifier) else one.find(exp.Identifier)
    if inside is None:
        raise Refused("a name is not plain")
    name = str(inside.this)
    return name.lower() if dialect == "postgres" and not inside.args.get("quoted") else name
