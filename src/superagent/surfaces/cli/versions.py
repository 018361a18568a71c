"""Versions: `superagent version`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version as version_of

from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE


def version(session: Session, arguments: Sequence[str]) -> int:
    """Say which version this is, and of what it runs on."""
    session.read(Parser("version", "Say which version this is, and of what it runs on."), arguments)
    found = {"superagent": version_of("superagent"), "python": platform.python_version(), "system": platform.platform()}
    if session.screen.json:
        session.screen.document(found)
    else:
        session.screen.line("\n".join(f"{name:<11}{text}" for name, text in found.items()))
    return DONE
