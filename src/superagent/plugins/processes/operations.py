"""Every `processes.*` operation: importing this makes the plugin whole."""

from __future__ import annotations

from . import ending, looking
from .line import processes

__all__ = ["ending", "looking", "processes"]
