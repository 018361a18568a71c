"""All operations of the plugin: importing a module adds what it declares."""

from __future__ import annotations

from . import background, explaining, running, scripts, sessions
from .line import shell

__all__ = ["background", "explaining", "running", "scripts", "sessions", "shell"]
