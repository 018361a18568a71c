"""The plugin's own page says what the code does."""

from __future__ import annotations

import tomllib
from pathlib import Path

from superagent.plugins.files.operations import files

FOLDER = Path(__file__).parents[3] / "src" / "superagent" / "plugins" / "files"


def table() -> str:
    rows = sorted((one.name, one.effect.name.lower(), one.summary) for one in files.compile())
    return "".join(f"| `{name}` | {effect} | {summary} |\n" for name, effect, summary in rows)


def test_the_table_of_operations_is_the_one_of_the_code() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    shown = text.split("|---|---|---|\n")[1].split("<!-- /operations -->")[0]
    assert shown == table()


def test_the_manifest_names_what_the_plugin_reaches() -> None:
    manifest = tomllib.loads((FOLDER / "plugin.toml").read_text("utf-8"))
    assert manifest["name"] == files.name
    assert tuple(manifest["reaches"]) == files.reaches


def test_every_operation_of_the_first_wave_is_there() -> None:
    looking = "read list stat exists hash find glob grep diff watch"
    changing = "write edit patch mkdir copy move delete restore archive extract"
    assert {one.name for one in files.compile()} == {f"files.{name}" for name in f"{looking} {changing}".split()}


def test_each_input_of_an_operation_is_described_in_its_schema() -> None:
    for one in files.compile():
        assert one.input_schema["type"] == "object"
        assert one.description.splitlines()[0].endswith(".")
