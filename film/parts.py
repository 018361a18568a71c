"""Parts: the real things that the film is played with, and how to get those that are not here."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import superagent
from tests import postgresql

CONSOLE = Path(superagent.__file__).parent / "console_static" / "index.html"


def lacking() -> list[str]:
    """Tell what is missing, each with the command that brings it."""
    found: list[str] = []
    if shutil.which("bwrap") is None:
        found.append("bubblewrap, in which commands and the verifier are contained: apt install bubblewrap")
    if shutil.which("chromium") is None:
        found.append("Chromium, in which the person approves: apt install chromium")
    if postgresql.programs() is None:
        found.append("PostgreSQL, whose table is changed: apt install postgresql")
    if find_spec("psycopg") is None:
        found.append("the driver of PostgreSQL: make run sets it up, or pip install 'psycopg[binary]'")
    if not CONSOLE.is_file():
        found.append("the console, which is built with Node 20.19 or newer: apt install nodejs npm, then make console")
    return found
