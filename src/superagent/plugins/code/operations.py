"""All operations of the plugin, each declared in the file of its subject."""

from __future__ import annotations

from . import explaining, formatting, lint, repl, run, tests
from .line import code

__all__ = ["code", "explaining", "formatting", "lint", "repl", "run", "tests"]
