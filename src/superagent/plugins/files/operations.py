"""Every `files.*` operation: importing this makes the plugin whole."""

from __future__ import annotations

from . import packing, patching, reading, restoring, searching, trees, watching, writing
from .line import files

__all__ = ["files", "packing", "patching", "reading", "restoring", "searching", "trees", "watching", "writing"]
