"""What PostgreSQL takes for a call or a type though no bracket follows it: names after a dot, and casts; pure.

`(x).f` means `f(x)` there where `x` has no field `f`, whatever type `x` is of (PostgreSQL manual, 8.16.5), and a type
such as `regclass` gives the names of things for their numbers.
"""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from .names import Named
from .parsing import functions_of

_NAMING = frozenset({
    "regclass", "regproc", "regprocedure", "regoper", "regoperator", "regtype", "regrole", "regnamespace", "aclitem",
})  # fmt: skip
_VALUES = (TokenType.R_PAREN, TokenType.R_BRACKET)


def reached(tree: exp.Expr, text: str, named: frozenset[Named]) -> tuple[frozenset[str], frozenset[Named]]:
    """Give every name that a written statement may call or cast to, and what may be types: by schema and name.

    `named` are the tables that it names.
    """
    tokens = sqlglot.tokenize(text, dialect="postgres")
    rows = _rows(tree)
    calls, types = set[str](), set[Named]()
    for at, token in enumerate(tokens):
        if token.token_type in (TokenType.STRING, TokenType.STAR):
            continue
        called = at + 1 < len(tokens) and tokens[at + 1].token_type == TokenType.L_PAREN
        if at > 1 and tokens[at - 1].token_type == TokenType.DOT:
            owner = tokens[at - 2]
            # a parameter is written `%(name)s`, of which the last letter is no name
            if owner.token_type not in _VALUES and text[owner.start - 1 : owner.start] != ")":
                pair = Named(_name(owner), _name(token))
                if pair in named or (owner.text.lower() in rows and not called):
                    continue
                types.add(pair)
            called = True
        if called:
            calls.add(token.text.lower())
        if naming(token):
            calls.add(token.text.lower().lstrip("_"))
    return frozenset(calls), frozenset(types)


def naming(token: Any) -> bool:
    """Tell whether a word is a type whose values are the names of other things."""
    return token.token_type != TokenType.STRING and token.text.lower().lstrip("_") in _NAMING


def after_a_value(before: Any, token: Any) -> bool:
    """Tell whether a dot follows a value, not a name."""
    return token.token_type == TokenType.DOT and before.token_type in _VALUES


def _name(token: Any) -> str:
    return str(token.text) if token.token_type == TokenType.IDENTIFIER else str(token.text).lower()


def _rows(tree: exp.Expr) -> set[str]:
    """Give the names that stand for rows of tables and queries: what follows their dot is a column.

    Not those of functions, whose rows may be bare values; a name that is both is none.
    """
    rows, bare = set[str](), set[str]()
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            rows.add(table.alias_or_name.lower())
        else:
            bare |= functions_of(table)
    for alias in tree.find_all(exp.TableAlias):
        given = alias.parent
        inside = given.this if isinstance(given, exp.Lateral) else given
        plain = isinstance(inside, exp.Subquery | exp.CTE | exp.Values) or (
            isinstance(inside, exp.Table) and isinstance(inside.this, exp.Identifier)
        )
        (rows if plain else bare).add(alias.name.lower())
    for one in tree.find_all(exp.Unnest, exp.Lateral):
        if not isinstance(one.this, exp.Subquery):
            bare |= functions_of(one)
    return rows - bare
