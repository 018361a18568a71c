"""Promises: tie a test to the rows of docs/promises.toml that it proves, and read both sides."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "promises.toml"
ROW = re.compile(r"\d+\.\d+[a-z]?")
FIELDS = {"claim": str, "counterpart": str, "not_verified": str, "bench": str}

T = TypeVar("T", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: what is claimed, against which real counterpart it was shown, and what was not shown.

    `bench` is a dotted key into the newest file of bench/history; None when no figure belongs to it.
    """

    id: str
    claim: str
    counterpart: str
    not_verified: str
    bench: str | None


def promise(*rows: str) -> Callable[[T], T]:
    """Mark a test as a proof of these rows: `@promise("1.3c")`, written out, so that it can be read without running."""
    mark = pytest.mark.promise(*rows)
    return lambda test: mark(test)


def read_table(path: Path = TABLE) -> list[Row]:
    """Read the table, in the order in which it is written; raises `ValueError` that names the faulty row."""
    rows: list[Row] = []
    for name, entry in tomllib.loads(path.read_text("utf-8")).get("row", {}).items():
        if not ROW.fullmatch(name):
            raise ValueError(f"{name!r} is not a row id such as 1.3c")
        if strange := entry.keys() - FIELDS.keys():
            raise ValueError(f"row {name}: unknown field {sorted(strange)}")
        if missing := FIELDS.keys() - {"bench"} - entry.keys():
            raise ValueError(f"row {name}: missing field {sorted(missing)}")
        for field in entry:
            if not isinstance(entry[field], str) or (field != "not_verified" and not entry[field].strip()):
                raise ValueError(f"row {name}: `{field}` must be a text that says something")
        rows.append(Row(name, entry["claim"], entry["counterpart"], entry["not_verified"], entry.get("bench")))
    return rows


def proofs(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Find the tests that carry each row, as `file::name`, by reading the source."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("test_*.py")):
        for name, row in _marked(ast.parse(file.read_text("utf-8"), str(file))):
            found.setdefault(row, []).append(f"{file.relative_to(folder.parent).as_posix()}::{name}")
    return found


def _marked(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        name = f"{outer}{node.name}"
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Name)
                and decorator.func.id == "promise"
            ):
                for argument in decorator.args:
                    yield name, str(ast.literal_eval(argument))
        if isinstance(node, ast.ClassDef):
            yield from _marked(node, f"{name}::")
