"""Finding, globbing and searching content through the line."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.ordinary_user import open_folder, ordinary_user
from tests.plugins.files.ground import Ground


@pytest.fixture
def tree(ground: Ground) -> Ground:
    ground.write("src/main.py", "import os\n\n\ndef main():\n    pass\n")
    ground.write("src/pkg/mod.py", "# Main module\nimport sys\r\n")
    ground.write("src/pkg/data.bin", b"\0import\0" * 10)
    ground.write("docs/a.md", "x" * 3000)
    ground.write("docs/\u00e9t\u00e9.txt", "caf\u00e9\n".encode("utf-16"))
    (ground.top / "docs" / "link.md").symlink_to("a.md")
    for name, seconds in (("src/main.py", 86_400 * 3), ("docs/a.md", 86_400 * 10)):
        at = ground.world.clock.now() - seconds
        os.utime(ground.top / name, (at, at))
    return ground


def names(found: Any) -> list[str]:
    return found["paths"] if "paths" in found else [entry["path"] for entry in found["entries"]]


@pytest.mark.parametrize(
    ("input", "expected"),
    [
        ({"name": "*.py"}, ["src/main.py", "src/pkg/mod.py"]),
        ({"type": "link"}, ["docs/link.md"]),
        ({"type": "directory", "name": "p*"}, ["src/pkg"]),
        ({"type": "file", "size": ">2k"}, ["docs/a.md"]),
        ({"type": "file", "size": "<=30"}, ["docs/\u00e9t\u00e9.txt", "src/pkg/mod.py"]),
        ({"type": "file", "size": "30..100"}, ["src/main.py", "src/pkg/data.bin"]),
        ({"type": "file", "size": "3000"}, ["docs/a.md"]),
        ({"type": "file", "mtime": ">1w"}, ["docs/a.md"]),
        ({"type": "file", "mtime": "2d..5d"}, ["src/main.py"]),
        ({"name": "*.py", "mtime": ">=2026-01-01"}, ["src/pkg/mod.py"]),
        ({"name": "*.py", "mtime": "<2023-11-13T00:00:00+01:00"}, ["src/main.py"]),
        ({"name": "*.py", "mtime": "2023-11-01..2023-12-01"}, ["src/main.py"]),
        ({"name": "{main,mod}.py"}, ["src/main.py", "src/pkg/mod.py"]),
    ],
)
async def test_entries_are_found_by_what_they_are(tree: Ground, input: dict[str, str], expected: list[str]) -> None:
    assert names(await tree.do("find", root="", **input)) == expected


@pytest.mark.parametrize(
    ("input", "says"),
    [
        ({"size": "big"}, "`size` does not take"),
        ({"mtime": "now"}, "`mtime` does not take"),
        ({"mtime": ">2026-13-01"}, "`mtime` does not take"),
        ({"name": "{a"}, "no glob pattern"),
    ],
)
async def test_conditions_that_are_not_understood_are_refused(tree: Ground, input: dict[str, str], says: str) -> None:
    problem = await tree.refused("find", root="", **input)
    assert problem.slug == "invalid-input"
    assert says in problem.detail


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["docs", "src"]),
        ("*/*.py", ["src/main.py"]),
        ("**/*.py", ["src/main.py", "src/pkg/mod.py"]),
        ("src/**", ["src/main.py", "src/pkg", "src/pkg/data.bin", "src/pkg/mod.py"]),
        ("docs/?t?.txt", ["docs/\u00e9t\u00e9.txt"]),
        ("docs/[!l]*.md", ["docs/a.md"]),
        ("none/*", []),
    ],
)
async def test_paths_are_found_by_a_pattern(tree: Ground, pattern: str, expected: list[str]) -> None:
    assert names(await tree.do("glob", root="", pattern=pattern)) == expected


async def test_searches_end_at_their_limit_and_say_so(tree: Ground) -> None:
    for operation, more in (("find", {}), ("glob", {"pattern": "**"})):
        found = await tree.do(operation, root="", limit=2, **more)
        assert (len(names(found)), found["truncated"]) == (2, True)
    found = await tree.do("grep", root="", pattern="import", limit=1)
    assert (len(found["matches"]), found["truncated"]) == (1, True)


async def test_lines_are_found_with_what_stands_around_them(tree: Ground) -> None:
    found = await tree.do("grep", root="src", pattern="def", context=2)
    assert found["matches"] == [
        {"path": "main.py", "line": 4, "text": "def main():", "before": ["", ""], "after": ["    pass"]}
    ]
    assert (found["searched"], found["skipped"]) == (2, 1)


async def test_patterns_can_be_expressions_and_files_can_be_chosen(tree: Ground) -> None:
    async def lines(**input: Any) -> list[tuple[str, int, str]]:
        return [(one["path"], one["line"], one["text"]) for one in (await tree.do("grep", **input))["matches"]]

    assert await lines(root="src", pattern="^import (os|sys)$", regex=True) == [("main.py", 1, "import os")]
    assert await lines(root="src", pattern="main", ignore_case=True, include="*.py") == [
        ("main.py", 4, "def main():"),
        ("pkg/mod.py", 1, "# Main module"),
    ]
    assert await lines(root="src", pattern="import", include="pkg/*") == [("pkg/mod.py", 2, "import sys")]
    assert await lines(root="docs", pattern="caf\u00e9") == [("\u00e9t\u00e9.txt", 1, "caf\u00e9")]
    assert await lines(root="src/main.py", pattern="os") == [("main.py", 1, "import os")]
    assert await lines(root="src", pattern="(a|b") == []


async def test_an_expression_that_is_not_understood_is_refused(tree: Ground) -> None:
    for pattern in ("(a", r"(a)\1", "(?=a)"):
        problem = await tree.refused("grep", root="", pattern=pattern, regex=True)
        assert "not understood" in problem.detail


async def test_an_expression_made_to_take_forever_does_not(tree: Ground) -> None:
    tree.write("evil", "a" * 50_000 + "!")
    found = await tree.do("grep", root="evil", pattern="^(a+)+$", regex=True)
    assert found["matches"] == []
    (await tree.do("glob", root="", pattern="*a" * 100))
    (await tree.do("find", root="", name="*a" * 100))


async def test_a_search_needs_a_place(tree: Ground) -> None:
    assert (await tree.refused("grep", root="none", pattern="x")).slug == "not-found"
    for operation, more in (("find", {}), ("glob", {"pattern": "*"})):
        assert (await tree.refused(operation, root="src/main.py", **more)).slug == "invalid-input"


async def test_what_the_system_will_not_show_is_named() -> None:
    with open_folder() as folder:
        ground = Ground(folder)
        ground.top.chmod(0o755)
        ground.write("a", "needle").chmod(0)
        ground.write("d/b", "needle").parent.chmod(0)
        with ordinary_user():
            found = await ground.do("grep", root="", pattern="needle")
        (ground.top / "d").chmod(0o755)
    assert found["matches"] == []
    assert sorted(found["unreadable"]) == [f"{ground.top}/a", f"{ground.top}/d"]


async def test_a_search_ends_at_the_calls_deadline(tree: Ground) -> None:
    outcome = await tree.world.run("files.grep", {"root": str(tree.top), "pattern": "x"}, deadline_s=0.000001)
    assert outcome.problem is not None
    assert outcome.problem.slug == "deadline"
