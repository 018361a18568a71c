"""What gets installed is pinned, hashed, and the same whatever index it comes from."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.house.files import sources
from tests.promise import ROOT

PINNED = sorted((ROOT / "requirements").glob("*.txt"))
NAME = re.compile(r"[A-Za-z0-9._-]+")


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {line.split("==")[0].strip(): line for line in lines}


def plain(requirement: str) -> str:
    match = NAME.match(requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def test_every_requirement_is_one_version_with_hashes() -> None:
    assert PINNED
    for file in PINNED:
        for name, line in pins(file.name).items():
            assert re.match(r"[a-z0-9.-]+==[\w.+!]+( ; [^-]+)?\s+--hash=sha256:", line), f"{file.name}: {name}"


def test_pinned_files_name_no_address() -> None:
    for file in PINNED:
        text = file.read_text("utf-8")
        assert "://" not in text, file.name
        assert not re.search(r"^\s*(-i|-f|--index|--extra-index|--find-links|--trusted-host)", text, re.MULTILINE), (
            file.name
        )


def test_everything_that_the_project_declares_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    run, dev = pins("run.txt"), pins("dev.txt")
    assert not [name for name in project["project"]["dependencies"] if plain(name) not in run]
    assert not [name for name in project["dependency-groups"]["dev"] if plain(name) not in dev]


def test_run_and_dev_agree_on_shared_versions() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert not [name for name in run.keys() & dev.keys() if run[name].split()[0] != dev[name].split()[0]]


def test_extras_together_are_all_the_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    single = {plain(requirement) for name, listed in extras.items() if name != "all" for requirement in listed}
    assert {plain(requirement) for requirement in extras["all"]} == single


# named in settings or by another library instead of being imported
NOT_IMPORTED = {"httptools", "sniffio", "tzdata", "uvloop"}


def imported() -> set[str]:
    found: set[str] = set()
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return {name for name in found if name not in sys.stdlib_module_names and not name.startswith("superagent")}


@pytest.mark.slow
def test_what_the_source_imports_is_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {plain(requirement) for requirement in project["dependencies"]}
    optional = {plain(one) for listed in project["optional-dependencies"].values() for one in listed}
    whose = packages_distributions()
    used: set[str] = set()
    for name in imported():
        found = {plain(distribution) for distribution in whose.get(name, [name])}
        # a namespace such as `google` is shared by several: one of them must be declared
        used |= found & (declared | optional) or found
    assert not used - declared - optional
    assert not declared - used - NOT_IMPORTED
