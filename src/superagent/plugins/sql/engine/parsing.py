"""Statements as a real parser reads them: what kind, which tables, which functions; pure.

What is sent to the server is written anew from the parsed tree, with every table's schema spelled out and without
comments: what was judged is what runs, and no trick of spelling survives the way through the tree.
"""

from __future__ import annotations

import logging
import secrets
from itertools import pairwise
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from .metered import LONGEST, read, write
from .names import Kind, Named, Refused, Statement

_KINDS: dict[type[exp.Expr], Kind] = {exp.Insert: "insert", exp.Update: "update", exp.Delete: "delete"}
_UNCERTAIN = "this is no statement that can be read with certainty"
_ROUNDS = 4
_NEVER: dict[type[exp.Expr], str] = {
    exp.Command: "this kind of statement",
    exp.Into: "`INTO`",
    exp.Operator: "an operator named by its schema",
    exp.Parameter: "a variable or a numbered parameter",
    exp.SessionParameter: "a variable of the server",
    exp.Hint: "a hint to the server",
    exp.DDL: "",
}
# by the server or by its files; what PostgreSQL has besides is asked of the server
_FUNCTIONS_NEVER = frozenset({
    "load_file", "sleep", "benchmark", "get_lock", "release_lock", "release_all_locks", "is_free_lock",
    "is_used_lock", "master_pos_wait", "master_gtid_wait", "sys_exec", "sys_eval", "load_extension", "readfile",
    "writefile", "edit", "fts3_tokenizer", "nextval", "setval", "lastval", "last_insert_id", "uuid_short", "pg_sleep",
})  # fmt: skip
_KNOWN = frozenset({
    "total", "changes", "json_each", "json_tree", "printf", "unixepoch", "julianday", "zeroblob", "typeof", "likely",
    "unlikely", "json_quote", "json_array_length", "json_valid", "json_remove", "json_set", "json_insert",
    "json_replace", "json_patch", "json_type", "iif", "find_in_set", "field", "elt", "make_set", "format",
    "inet_aton", "inet_ntoa", "crc32", "oct", "conv", "json_length", "json_keys", "json_value", "json_contains",
    "json_search", "json_merge_patch", "addtime", "subtime", "maketime", "period_add", "period_diff", "to_seconds",
    "sec_to_time", "time_to_sec", "uncompressed_length", "weight_string", "export_set", "soundex", "quote", "ord",
    "bit_count", "row_count", "rtrim", "ltrim", "sqlite_version", "json_query", "json_exists", "json_depth",
    "json_unquote", "strcmp", "interval", "bit_length", "octet_length", "now", "unix_timestamp",
})  # fmt: skip


def parsed(sql: str, dialect: str, schema: str) -> Statement:
    """Read exactly one statement that reads or changes rows. Raises `Refused`."""
    if len(sql) > LONGEST or "\0" in sql:
        raise Refused(f"a statement has at most {LONGEST} characters and no NUL")
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it logs the statement, which may hold what is private
    tree = _checked(_one(sql, dialect))
    tree = _checked(_settled(tree, dialect))
    kind = _kind(tree)
    target, reads = _tables(tree, dialect, schema)
    found = {one.name.lower() for one in tree.find_all(exp.Anonymous)}
    functions = functions_of(tree)
    bad_ones = functions & _FUNCTIONS_NEVER
    if bad_ones:
        raise Refused(f"the function `{min(bad_ones)}` does not run here", "it reaches beyond the rows of tables")
    columns: tuple[str, ...] = ()
    if isinstance(tree, exp.Update):
        columns = tuple(_column(one, dialect) for one in tree.expressions)
    names = frozenset(str(one.this) for one in tree.find_all(exp.Placeholder))
    return Statement(
        kind, dialect, tree, target, reads, frozenset(functions), frozenset(found - _KNOWN), names, columns
    )


def text_of(tree: exp.Expr, dialect: str) -> str:
    """Write a tree as the driver takes it: `%(name)s` and `%%`, or `:name` where that is the driver's way.

    Raises `Refused` for one that is too costly to write.
    """
    if dialect == "sqlite":
        return write(tree, dialect)
    mark = _mark()
    text = _marked(tree, dialect, mark).replace("%", "%%")
    for name in {str(one.this) for one in tree.find_all(exp.Placeholder)}:
        text = text.replace(f"{mark}{name}_", f"%({name})s")
    return text


def called(text: str, dialect: str) -> frozenset[str]:
    """Give every name before a bracket in a statement: at least all functions that it calls."""
    tokens = sqlglot.tokenize(text, dialect=dialect)
    return frozenset(one.text.lower() for one, after in pairwise(tokens) if after.token_type == TokenType.L_PAREN)


def functions_of(tree: exp.Expr) -> frozenset[str]:
    """Give every name that a function in it may go by."""
    found = {one.name.lower() for one in tree.find_all(exp.Anonymous)}
    return frozenset(found | {name.lower() for one in tree.find_all(exp.Func) for name in _names(one)})


def quoted(name: str, dialect: str) -> str:
    """Give a name quoted for a dialect."""
    mark = "`" if dialect == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark


def _one(sql: str, dialect: str) -> exp.Expr:
    try:
        trees = read(sql, dialect)
    except SqlglotError as bad:
        raise Refused(_UNCERTAIN, f"{_plain(bad)}"[:300]) from None
    if len(trees) != 1:
        raise Refused("exactly one statement is taken", "call once for each")
    if any(not str(one.this or "?").isidentifier() for one in trees[0].find_all(exp.Placeholder)):
        raise Refused("parameters are named", "write `:name` and give `params` its value")
    return trees[0]


def _settled(tree: exp.Expr, dialect: str) -> exp.Expr:
    """Give the tree of the text that is written for a tree, once that is written in the same words.

    The writer puts some words out as they are, though the parser took them from between quotes: what they come to is
    seen by whoever reads the text as the server does. Raises `Refused`.
    """
    mark = _mark()
    text = _marked(tree, dialect, mark)
    for _ in range(_ROUNDS):
        spelled = text
        for name in {str(one.this) for one in tree.find_all(exp.Placeholder)}:
            spelled = spelled.replace(f"{mark}{name}_", f":{name}")
        tree = _one(spelled, dialect)
        before, text = text, _marked(tree, dialect, mark)
        if text == before:
            return tree
    raise Refused(_UNCERTAIN, "write it in plainer words")


def _mark() -> str:
    return f"p{secrets.token_hex(12)}_"  # unforeseeable: no text of a caller can pass for a parameter


def _marked(tree: exp.Expr, dialect: str, mark: str) -> str:
    """Write a tree with a marked name for each parameter."""
    marked = tree.copy()
    for one in list(marked.find_all(exp.Placeholder)):
        one.replace(exp.Column(this=exp.Identifier(this=f"{mark}{one.this}_", quoted=False)))
    return write(marked, dialect)


def _checked(tree: exp.Expr) -> exp.Expr:
    for node in tree.walk():
        _check(node, tree)
    return tree


def _check(node: exp.Expr, tree: exp.Expr) -> None:
    for kind, what in _NEVER.items():
        if what and isinstance(node, kind):
            raise Refused(
                f"{what} is not taken", "read with one `SELECT`, change with one `INSERT`, `UPDATE` or `DELETE`"
            )
    if isinstance(node, exp.Insert | exp.Update | exp.Delete | exp.Merge) and node is not tree:
        raise Refused("a change within another statement is not taken", "make each change by a call of its own")
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
        raise Refused("a function named by its schema does not run here", "what it reads and changes cannot be known")
    if isinstance(node, exp.In) and node.args.get("field") is not None:
        # SQLite takes a table or a function there, which the parser knows for a column
        raise Refused("`IN` takes a list or a query here", "write `IN (SELECT … FROM …)`")
    if isinstance(node, exp.Lock):
        raise Refused("a read takes no locks", "leave `FOR UPDATE` out")


def _kind(tree: exp.Expr) -> Kind:
    if isinstance(tree, exp.Query | exp.Values):
        return "select"
    found = _KINDS.get(type(tree))
    if found is None:
        raise Refused(
            f"`{tree.key.upper()}` is not taken",
            "read with one `SELECT`, change with one `INSERT`, `UPDATE` or `DELETE`",
        )
    return found


def _tables(tree: exp.Expr, dialect: str, schema: str) -> tuple[Named | None, frozenset[Named]]:
    """Spell out the schema of each table, and give the target of a change and what else is named."""
    aliases = {_name(one.args["alias"].this, dialect) for one in tree.find_all(exp.CTE)}
    if dialect == "postgres" and any(name.startswith("pg_") for name in aliases):
        raise Refused("a name that begins with `pg_` is the server's own", "give what stands in `WITH` another name")
    place = tree.this if isinstance(tree, exp.Insert | exp.Update | exp.Delete) else None
    place = place.this if isinstance(place, exp.Schema) else place
    target: Named | None = None
    reads: set[Named] = set()
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Func):
            if table.args.get("db"):
                raise Refused("a function named by its schema does not run here")
            continue
        if not isinstance(table.this, exp.Identifier) or table.args.get("catalog"):
            raise Refused("a table is named by its name, or by schema and name")
        name = _name(table.this, dialect)
        if not table.args.get("db"):
            if name in aliases and table is not place:
                continue  # a real table of that name is not reached: without a schema the server knows none
            table.set("db", exp.to_identifier(schema, quoted=True))
        named = Named(_name(table.args["db"], dialect), name)
        table.set("this", exp.to_identifier(named.name, quoted=True))
        table.set("db", exp.to_identifier(named.schema, quoted=True))
        if table is place:
            target = named
        else:
            reads.add(named)
    if place is not None and target is None:
        raise Refused("what is changed is one table", "name the table itself")
    return target, frozenset(reads)


def _name(one: Any, dialect: str) -> str:
    name = str(one.this)
    return name.lower() if dialect == "postgres" and not one.args.get("quoted") else name


def _column(assigned: exp.Expr, dialect: str) -> str:
    if not isinstance(assigned, exp.EQ) or not isinstance(assigned.this, exp.Column):
        raise Refused("an update sets columns one by one", "write `SET a = …, b = …`")
    return _name(assigned.this.this, dialect)


def _names(one: exp.Func) -> list[str]:
    return [] if isinstance(one, exp.Anonymous) else list(type(one).sql_names()) if type(one) is not exp.Func else []


def _plain(bad: BaseException) -> str:
    return str(bad).split("\n", 1)[0].replace("\x1b[4m", "").replace("\x1b[0m", "")
