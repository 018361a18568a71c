"""The tree keeps the shape that the house agreed on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.files import shown, sources, tracked
from tests.promise import ROOT

# files over 400 lines that wait to be split by subject; the list is meant to be empty
TOO_LONG: set[str] = set()
EMPTY_NAMES = re.compile(r"(^|[_.-])(utils?|helpers?|managers?|base|common|misc)([_.-]|$)")

# written in pieces: this file is searched as well
ADDRESSES = re.compile(
    "|".join(
        (
            r"\bpypi" + r"\.(org|python)",
            r"python" + r"hosted\.org",
            r"registry\." + r"(npmjs|yarnpkg)",
            r"(extra-)?index-" + r"url\s*=",
            r"--(extra-)?index-" + r"url[ =](?!\S*emit)",
            r"find-" + r"links\s*=",
        )
    )
)
MACHINE_PATHS = re.compile(
    r"(?<![\w.~*}-])/(" + "|".join(("work", "opt/pypi", "opt/wheels", "root/.pyenv", "tmp/team")) + r")(/|\b)"
)


def texts() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for file in tracked():
        data = file.read_bytes()
        if b"\0" not in data:
            found.append((file, data.decode("utf-8", "replace")))
    return found


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def test_every_source_file_says_its_subject_in_the_first_line_of_its_docstring() -> None:
    silent: list[str] = []
    for file in sources():
        if file.name == "__init__.py":
            continue
        first = (ast.get_docstring(tree_of(file)) or "").split("\n")[0]
        if len(first) < 15 or not first.endswith("."):
            silent.append(f"{shown(file)}: {first!r}")
    assert not silent


def test_package_files_define_nothing() -> None:
    def harmless(node: ast.stmt) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    packages = [file for file in sources() if file.name == "__init__.py"]
    assert not [shown(file) for file in packages if not all(map(harmless, tree_of(file).body))]


def test_every_source_folder_is_a_package() -> None:
    folders = {file.parent for file in sources()} - {file.parent for file in sources() if file.name == "__init__.py"}
    assert not [shown(folder) for folder in folders]


def test_no_source_file_is_longer_than_400_lines() -> None:
    long = {shown(file) for file in sources() if len(file.read_text("utf-8").splitlines()) > 400}
    assert long == TOO_LONG


def test_file_names_say_what_is_inside() -> None:
    code = [file for file in tracked() if file.suffix in {".py", ".toml", ".sh", ".js", ".ts"}]
    parts = {part for file in code for part in Path(shown(file)).parts}
    assert not sorted(part for part in parts if EMPTY_NAMES.search(part.removesuffix(".py")))


def test_no_import_is_hidden_from_the_contracts() -> None:
    hidden = [
        shown(file)
        for file in sources()
        if re.search(r"^\s*if (typing\.)?TYPE_CHECKING", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert not hidden


def test_tests_wait_for_something_and_do_not_sleep() -> None:
    sleeping = re.compile(r"^\s*(await asyncio|time)\.sleep\((?!0(\.0\d*)?\))")  # up to 0.1 s is a step of some wait
    asleep = [
        f"{shown(file)}:{number}"
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if sleeping.search(line)
    ]
    assert not asleep, "wait with tests.until, or for an event"


@pytest.mark.parametrize("pattern", [ADDRESSES, MACHINE_PATHS], ids=["index-address", "machine-path"])
def test_no_file_names_an_index_or_a_place_on_one_machine(pattern: re.Pattern[str]) -> None:
    found = [
        f"{shown(file)}:{text.count(chr(10), 0, hit.start()) + 1}: {hit.group()}"
        for file, text in texts()
        for hit in pattern.finditer(text)
    ]
    assert not found


def test_the_search_for_addresses_finds_them() -> None:
    assert ADDRESSES.search("https://" + "pypi" + ".org/simple")
    assert ADDRESSES.search("index-" + "url = x")
    assert MACHINE_PATHS.search('open("/' + 'work/main/x")')
    assert not MACHINE_PATHS.search("src/superagent/runtime/" + "work/leases.py")
