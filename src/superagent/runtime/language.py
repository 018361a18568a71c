"""Language: what is known of how people speak of tasks, read from two files beside this one at the first search."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path

from superagent.core.wording import Language

ASKED = Path(__file__).with_name("asked.toml")
THESAURUS = Path(__file__).with_name("thesaurus.toml")


@lru_cache(1)
def language() -> Language:
    """Give what goes for what, and how people ask for each operation."""
    classes: dict[str, dict[str, str]] = tomllib.loads(THESAURUS.read_text("utf-8"))
    meanings = {name: _parts(",", said) for part in classes.values() for name, said in part.items()}
    asked: dict[str, str] = tomllib.loads(ASKED.read_text("utf-8"))
    return Language(meanings, {name: _parts("[;\n]", said) for name, said in asked.items()})


def _parts(by: str, text: str) -> list[str]:
    return [part for one in re.split(by, text) if (part := one.strip())]
