"""The plugin's own page says what the code does."""

from __future__ import annotations

import tomllib
from pathlib import Path

from superagent.plugins.code.operations import code

FOLDER = Path(__file__).parents[3] / "src" / "superagent" / "plugins" / "code"


def test_the_table_of_operations_is_the_one_of_the_code() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    rows = sorted((one.name, one.effect.name.lower(), one.summary) for one in code.compile())

    shown = text.split("|---|---|---|\n")[1].split("<!-- /operations -->")[0]

    assert shown == "".join(f"| `{name}` | {effect} | {summary} |\n" for name, effect, summary in rows)


def test_the_manifest_names_what_the_plugin_reaches() -> None:
    manifest = tomllib.loads((FOLDER / "plugin.toml").read_text("utf-8"))
    assert manifest["name"] == code.name
    assert tuple(manifest["reaches"]) == code.reaches
