"""What attacks were seen to do: noted while `make attack` runs, kept in `seen.json` for the documentation."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("seen.json")
KEEP = "ATTACK_SEEN"
"""The variable of the environment that says to keep what is seen."""

_held: dict[str, list[str]] = {}
_said: dict[str, dict[str, str]] = {}


def note(setting: str, case: str, limit: str) -> None:
    """Note that an attack was held in a setting, or that the limit it broke was said not to hold."""
    if limit:
        _said.setdefault(setting, {})[case] = limit
    else:
        _held.setdefault(setting, []).append(case)


def keep() -> None:
    """Write what was seen over what was seen before in the same settings, if the environment says so."""
    if not os.environ.get(KEEP):
        return
    kept = read()
    for setting in _held.keys() | _said.keys():
        said = _said.get(setting, {})
        kept[setting] = {
            "on": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
            "kernel": ".".join(platform.release().split(".")[:2]),
            "tried": len(_held.get(setting, [])) + len(said),
            "said": dict(sorted(said.items())),
        }
    FILE.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", "utf-8")


def read() -> dict[str, Mapping[str, Any]]:
    """Give what is kept, by setting."""
    return json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
