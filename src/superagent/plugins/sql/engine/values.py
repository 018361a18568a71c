"""Values of databases as JSON: for people to read, and exactly, to be put back."""

from __future__ import annotations

import base64
import datetime
import math
from typing import Any, cast

Cell = Any


def shown(value: Any) -> Cell:
    """Give a value for people and programs: numbers and texts as they are, bytes as base64, the rest as text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [shown(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {str(key): shown(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def size_of(row: list[Cell]) -> int:
    """Give about how many bytes a row takes as JSON."""
    return sum(
        len(one) if isinstance(one, str) else 8 if isinstance(one, int | float) else len(str(one)) for one in row
    )


def kept(value: Any) -> Cell:
    """Give a value exactly, as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return {"i": str(int(value))}
    if isinstance(value, float):
        return {"f": value.hex()}
    return {"b": bytes(value).hex()}


def restored(cell: Cell) -> Any:
    """Give back what `kept` was given."""
    if not isinstance(cell, dict):
        return cell
    ((kind, text),) = cast("dict[str, str]", cell).items()
    return int(text) if kind == "i" else float.fromhex(text) if kind == "f" else bytes.fromhex(text)
