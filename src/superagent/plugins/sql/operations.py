"""Every `sql.*` operation: importing this makes the plugin whole."""

from __future__ import annotations

from . import (
    backups,
    capacity,
    connecting,
    executing,
    exporting,
    importing,
    indexes,
    migrations,
    querying,
    restoring,
    slow,
    statements,
    streaming,
    users,
)
from .line import sql

__all__ = [
    "backups", "capacity", "connecting", "executing", "exporting", "importing", "indexes", "migrations", "querying",
    "restoring", "slow", "sql", "statements", "streaming", "users",
]  # fmt: skip
