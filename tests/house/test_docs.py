"""The documentation says what the code does."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import superagent
from docs.build import ROOT, pages, stale, strays
from superagent.core.problems import Problem, every_problem
from tests.house.files import pages as written_pages
from tests.house.files import shown

DOCS = ROOT / "docs"
INCLUDE = re.compile(r"<!-- (docs_src/\S+) -->\n+(?P<fence>`{3,})[a-z]*\n(?P<code>.*?)\n?(?P=fence)", re.DOTALL)
PYTHON_BLOCK = re.compile(r"(?P<mark><!-- docs_src/\S+ -->\n+)?^`{3,}(python|py)$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?!\w+:|#)([^)#\s]+)")
DECISION_PARTS = ["Status", "Context", "Decision", "Consequences", "How we would notice that we were wrong"]


def every_kind(kind: type[Problem] = Problem) -> set[type[Problem]]:
    """Collect the problems that callers can tell apart: a subclass without a slug of its own is the same to them."""
    ours = [child for child in kind.__subclasses__() if child.__module__.startswith("superagent")]
    return {child for child in ours if "slug" in vars(child)}.union(*map(every_kind, ours))


def test_every_problem_is_listed_documented_and_named_once() -> None:
    for module in pkgutil.walk_packages(superagent.__path__, "superagent."):
        if not module.name.endswith(("__main__", ".asgi", ".worker")) and ".migrations" not in module.name:
            importlib.import_module(module.name)
    kinds = every_kind()
    assert set(every_problem()) == kinds
    assert len({kind.slug for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert inspect.cleandoc(kind.__doc__ or "").split("\n")[0].endswith("."), kind
        assert (DOCS / "problems" / f"{kind.slug}.md").exists(), f"{kind.slug}: run `make docs`"


def test_generated_files_are_up_to_date() -> None:
    wanted = pages()
    assert not stale(wanted), "run `make docs`"
    assert not strays(wanted), "run `make docs`"


@pytest.mark.parametrize("page", written_pages(), ids=shown)
def test_code_in_a_page_is_the_file_that_is_tested(page: Path) -> None:
    text = page.read_text("utf-8")
    for include in INCLUDE.finditer(text):
        source = ROOT / include.group(1)
        assert source.exists(), f"{shown(page)} shows {include.group(1)}, which is not there"
        assert include.group("code").strip("\n") == source.read_text("utf-8").strip("\n"), (
            f"{shown(page)}: {include.group(1)}"
        )
    marks = text.count("<!-- docs_src/")
    assert marks == len(INCLUDE.findall(text)), f"{shown(page)}: a docs_src mark without a code block below it"
    bare = [block.start() for block in PYTHON_BLOCK.finditer(text) if block.group("mark") is None]
    assert not bare, f"{shown(page)}: Python in a page comes from docs_src/"


def test_every_tested_example_is_shown_somewhere() -> None:
    shown_files = {
        include.group(1) for page in written_pages() for include in INCLUDE.finditer(page.read_text("utf-8"))
    }
    present = {
        shown(file) for file in (ROOT / "docs_src").rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    assert present == shown_files
    runners = "".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name in present if Path(name).name not in runners], "a test runs each example"


@pytest.mark.parametrize("page", written_pages(), ids=shown)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    dead = [target for target in LINK.findall(page.read_text("utf-8")) if not (page.parent / target).exists()]
    assert not dead


def test_every_page_can_be_reached_from_the_index() -> None:
    index = {(DOCS / target).resolve() for target in LINK.findall((DOCS / "README.md").read_text("utf-8"))}
    single = [*DOCS.glob("*.md"), *DOCS.glob("guide/*.md"), *DOCS.glob("reference/*.md"), *DOCS.glob("*/README.md")]
    assert not [shown(page) for page in single if page.resolve() not in index and page != DOCS / "README.md"]


def decisions() -> list[Path]:
    return sorted(file for file in (DOCS / "decisions").glob("*.md") if file.name[0].isdigit())


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(file.name[:4]) for file in decisions()]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", decisions(), ids=shown)
def test_a_decision_says_how_we_would_notice_that_it_was_wrong(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert re.fullmatch(rf"# {int(page.name[:4])}\. .+", lines[0])
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == DECISION_PARTS
    assert len(lines) <= 60, "half a page"


def test_news_fragments_say_what_kind_of_news_they_are() -> None:
    fragments = [file for file in (ROOT / "changes").iterdir() if file.name != "README.md"]
    assert not [
        file.name
        for file in fragments
        if not re.fullmatch(r"[a-z0-9-]+\.(feature|fix|security|breaking)\.md", file.name)
    ]
    assert all(file.read_text("utf-8").strip() for file in fragments)


def test_every_demand_of_a2a_names_a_test_that_there_is() -> None:
    rows = [line for line in (DOCS / "a2a-musts.md").read_text("utf-8").splitlines() if re.match(r"\| [0-9]", line)]
    assert len(rows) >= 40
    there = {
        name
        for folder in ("surfaces/a2a", "runtime/a2a_client")
        for file in (ROOT / "tests" / folder).glob("test_*.py")
        for name in re.findall(r"^async def (test_\w+)|^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
        for name in name
        if name
    }
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        file = re.search(r"tests/\S+\.py", row)
        assert named or (file and (ROOT / file[0]).exists()), f"no test: {row}"
        assert set(named) <= there, row
