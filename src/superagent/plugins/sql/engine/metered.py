"""The parser and its writer on a meter: they try again and again, so that a short text could take them for ever.

A type within a type within a type is tried as a type and then as a call, at each level: twice the work for each. The
meter counts tokens taken and nodes written, whatever the way to make them many, and a statement that takes more than
any plain one is refused. It is the same on every machine, unlike a limit of time.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from sqlglot import Dialect, exp
from sqlglot.tokenizer_core import TokenType

from .names import TooMuch

LONGEST = 100_000  # characters
TOKENS = 30_000
STEPS = 20  # that the parser may take for each token of a statement
NODES = 100_000  # that may be looked at or written
_FREE = 5_000  # steps that every statement has
_CPU_S = 3.0  # what no step may lead beyond; by the processor, so that a busy machine refuses nothing more


class Costly(TooMuch):
    """A statement that takes the parser more than it may."""

    def __init__(self, bound: str) -> None:
        super().__init__("this statement is too complex to be read with certainty", bound)


def read(sql: str, dialect: str) -> list[exp.Expr]:
    """Parse statements. Raises `Costly`, and what the library raises for a text that is none."""
    speaking = Dialect.get_or_raise(dialect)
    tokens = speaking.tokenize(sql)
    if len(tokens) > TOKENS:
        raise Costly(f"it has at most {TOKENS} words and signs")
    if any(one.token_type == TokenType.PIPE_GT for one in tokens):
        raise Costly("no server here knows `|>`")  # each one copies all before it
    parser = _parser(type(speaking))(dialect=speaking)
    parser.end = time.thread_time() + _CPU_S
    parser.left = STEPS * len(tokens) + _FREE
    try:
        trees = [one for one in parser.parse(tokens, sql) if one is not None]
    except RecursionError:
        raise Costly("nest it less deeply") from None
    if tokens and parser.left == STEPS * len(tokens) + _FREE:
        raise Costly("the installed parser cannot be held to a measure")
    _few(trees)
    return trees


def write(tree: exp.Expr, dialect: str) -> str:
    """Write a tree as text, without comments. Raises `Costly`."""
    speaking = Dialect.get_or_raise(dialect)
    writer = _writer(type(speaking))(dialect=speaking, comments=False)
    writer.end = time.thread_time() + _CPU_S
    writer.left = NODES
    try:
        text = writer.generate(tree)
    except RecursionError:
        raise Costly("nest it less deeply, and let a chain of signs have fewer parts") from None
    if writer.left == NODES:
        raise Costly("the installed parser cannot be held to a measure")
    if len(text) > 2 * LONGEST:
        raise Costly(f"written out, it has at most {2 * LONGEST} characters")
    return text


def _few(trees: list[exp.Expr]) -> None:
    left = NODES
    for tree in trees:
        for _ in tree.walk():
            left -= 1
            if left < 0:
                raise Costly(f"it has at most {NODES} parts")


@cache
def _parser(dialect: Any) -> Any:
    class Parser(dialect.parser_class):
        left = end = 0

        def _advance(self, times: int = 1) -> None:
            self.left -= 1  # a step back as well: it is a try that failed
            if self.left < 0 or time.thread_time() > self.end:
                raise Costly("nest calls and types less deeply")
            parent: Any = super()  # its class is made here, and so it has no types
            parent._advance(times)

    return Parser


@cache
def _writer(dialect: Any) -> Any:
    class Writer(dialect.generator_class):
        left = end = 0

        def sql(self, expression: Any, key: str | None = None, comment: bool = True) -> str:
            self.left -= 1
            if self.left < 0 or time.thread_time() > self.end:
                raise Costly(f"written out, it has at most {NODES} parts")
            parent: Any = super()
            return parent.sql(expression, key, comment)

    return Writer
