"""`code.explain` over HTTP: real parsers inside the real sandbox, over languages, and text made to break them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.needs import program
from tests.plugins.code.inside import inside, parsers, write
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")
    inside("python3", expected=True)


async def explained(caller: Caller, path: str, **input: Any) -> dict[str, Any]:
    return await caller.done("code.explain", {"path": path, **input})


def defined(found: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    return [(one["name"], one["kind"], one["line"], one["end_line"]) for one in found["definitions"]]


def used(found: list[dict[str, Any]]) -> list[tuple[str, str, int, str, bool]]:
    return [(one["of"], one["file"], one["line"], one["within"], one["sure"]) for one in found]


CORE = '''import os
from . import other as o

LIMIT = 3


class Box(o.Base):
    """A box.

    More of it.
    """

    def put(self, x: int = 1) -> None:
        helper(x)


@o.wrapped
async def helper(y):
    return y
'''


async def test_python_is_explained_with_callers_and_tests(house: House) -> None:
    agent = await house.agent()
    await write(agent, "pkg/core.py", CORE)
    await write(
        agent,
        "pkg/use.py",
        "from .core import Box, helper\nfrom pkg import core\n\n\ndef go():\n    Box().put()\n    core.helper(2)\n",
    )
    await write(
        agent, "tests/test_core.py", "from pkg.core import helper\n\n\ndef test_helper():\n    assert helper(1)\n"
    )
    await write(agent, "other.py", "def helper(): pass\n\nhelper()\n")
    await write(agent, "broken.py", "helper(\n")
    await write(agent, ".venv/lib/x.py", "helper()\n")

    found = await explained(agent, "pkg/core.py")

    assert (found["language"], found["tool"]["name"], found["fault"]) == ("python", "ast", None)
    assert [(one["module"], one["names"], one["line"]) for one in found["imports"]] == [
        ("os", [], 1),
        (".", ["other"], 2),
    ]
    assert defined(found) == [
        ("LIMIT", "variable", 4, 4),
        ("Box", "class", 7, 14),
        ("Box.put", "method", 13, 14),
        ("helper", "function", 17, 19),
    ]
    assert found["definitions"][1]["doc"] == "A box."
    assert found["definitions"][1]["signature"] == "class Box(o.Base)"
    assert found["definitions"][2]["signature"] == "def put(self, x: int=1) -> None"
    assert used(found["callers"]) == [
        ("helper", "pkg/core.py", 14, "Box.put", True),
        ("Box", "pkg/use.py", 6, "go", True),
        ("helper", "pkg/use.py", 7, "go", True),
        ("helper", "other.py", 3, "", False),
        ("put", "pkg/use.py", 6, "go", False),
    ]
    assert used(found["tests"]) == [("helper", "tests/test_core.py", 5, "test_helper", True)]
    assert (found["looked_at"], found["complete"]) == (5, True)


async def test_lines_narrow_it_and_a_limit_cuts_it(house: House) -> None:
    agent = await house.agent()
    await write(agent, "core.py", CORE)

    part = await explained(agent, "core.py", lines="17-19")
    cut = await explained(agent, "core.py", limit=1)

    assert [one["name"] for one in part["definitions"]] == ["helper"]
    assert part["imports"] == []
    assert {one["of"] for one in part["callers"]} == {"helper"}
    assert (len(cut["definitions"]), cut["truncated"]) == (1, True)
    for lines in ("9-3", "0"):
        problem_of(await agent.call("code.explain", {"path": "core.py", "lines": lines}), 422, "invalid-input")


OTHERS = {
    "javascript": (
        "a.js",
        "// Adds two.\nimport x from './x.js';\nconst fs = require('fs');\nexport function add(a, b) { return a + b }\n"
        "class K {\n  m() { return add(1, 2) }\n}\nconst arrow = (z) => new K().m();\n",
        "a.test.js",
        "import { add } from './a.js';\ntest('adds up', () => {\n  add(1);\n});\n",
        [("add", "function", 4), ("K", "class", 5), ("K.m", "method", 6), ("arrow", "function", 8)],
        ["./x.js", "fs"],
        ("add", "a.js", 6, "K.m"),
        ("add", "a.test.js", 3, "adds up"),
    ),
    "typescript": (
        "a.ts",
        "import type { T } from './t';\nexport interface I { a: number }\ntype U = I | T;\nenum E { A }\n"
        "export const f = (x: U): number => g(x);\nfunction g(x: U): number { return 1 }\n",
        "a.spec.ts",
        "describe('it', () => { it('works', () => { f(1) }) });\n",
        [("I", "interface", 2), ("U", "type", 3), ("E", "enum", 4), ("f", "function", 5), ("g", "function", 6)],
        ["./t"],
        ("g", "a.ts", 5, "f"),
        ("f", "a.spec.ts", 1, "it.works"),
    ),
    "go": (
        "a.go",
        'package a\n\nimport (\n\t"fmt"\n\tx "example.org/x"\n)\n\n// Box holds.\ntype Box struct{}\n\n'
        "func (b *Box) Put() { fmt.Println(Help()) }\n\nfunc Help() int { return x.One }\n",
        "a_test.go",
        'package a\n\nimport "testing"\n\nfunc TestHelp(t *testing.T) { Help() }\n',
        [("Box", "type", 9), ("Box.Put", "method", 11), ("Help", "function", 13)],
        ["fmt", "example.org/x"],
        ("Help", "a.go", 11, "Put"),
        ("Help", "a_test.go", 5, "TestHelp"),
    ),
    "rust": (
        "src/a.rs",
        "use std::io;\n/// A box.\npub struct Bx;\nimpl Bx {\n    pub fn put(&self) { help() }\n}\nfn help() {}\n",
        "src/b.rs",
        "#[test]\nfn it_helps() { help(); }\n",
        [("Bx", "struct", 3), ("Bx.put", "method", 5), ("help", "function", 7)],
        ["std::io"],
        ("help", "src/a.rs", 5, "Bx.put"),
        ("help", "src/b.rs", 2, "it_helps"),
    ),
    "bash": (
        "a.sh",
        "source ./lib.sh\n# Says hi.\nhi() {\n  echo hi\n}\ngo() { hi; }\n",
        None,
        "",
        [("hi", "function", 3), ("go", "function", 6)],
        ["./lib.sh"],
        ("hi", "a.sh", 6, "go"),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", OTHERS)
async def test_other_languages_are_explained_by_tree_sitter(house: House, language: str) -> None:
    parsers()
    name, text, test_name, test_text, wanted, imports, caller, test = OTHERS[language]
    agent = await house.agent()
    await write(agent, name, text)
    if test_name is not None:
        await write(agent, test_name, test_text)

    found = await explained(agent, name)

    assert (found["language"], found["tool"]["name"], found["fault"]) == (language, "tree-sitter", None)
    assert [one[:3] for one in defined(found)] == wanted
    assert [one["module"] for one in found["imports"]] == imports
    assert caller in [one[:4] for one in used(found["callers"])]
    assert test is None or test in [one[:4] for one in used(found["tests"])]


async def test_what_a_parser_cannot_read_is_said(house: House) -> None:
    parsers()
    agent = await house.agent()
    await write(agent, "a.py", "def f(:\n")
    await write(agent, "b.js", "function ok() {}\nfunction {{{ ] (\n")

    assert "line 1" in (await explained(agent, "a.py"))["fault"]
    found = await explained(agent, "b.js")
    assert found["fault"]
    assert found["definitions"][0]["name"] == "ok"


async def test_what_cannot_be_explained_says_so(house: House) -> None:
    agent = await house.agent()
    await write(agent, "a.txt", "x")
    os.mkfifo(agent.workspace / "pipe.py")
    (agent.workspace / "big.py").write_text("x = 1\n" * 400_000)

    folder = problem_of(await agent.call("code.explain", {"path": "."}), 422, "invalid-input")
    assert "is no file in a language" in folder["detail"]
    assert folder["hint"].startswith("name a file, of python, ")
    found = problem_of(await agent.call("code.explain", {"path": "a.txt"}), 422, "invalid-input")
    assert "python, javascript" in found["hint"]
    problem_of(await agent.call("code.explain", {"path": "nosuch.py"}), 404, "not-found")
    problem_of(await agent.call("code.explain", {"path": "pipe.py"}), 404, "not-found")
    problem_of(await agent.call("code.explain", {"path": "big.py"}), 413, "too-large")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "(" * 150_000),
        ("a.py", "-" * 300_000 + "1\n"),
        ("a.py", "a" + ".b" * 50_000 + "\n"),
        ("a.py", "x = 1" + "+1" * 60_000 + "\n"),
        ("a.py", "\0"),
        ("a.py", "# -*- coding: nonsense -*-\n"),
        ("a.js", "[" * 200_000),
        ("a.js", "a(" * 100_000),
        ("a.go", "package a\n" + "{" * 200_000),
        ("a.sh", "$(" * 50_000),
        ("a.rs", "r" + "#" * 100_000 + '"'),
    ],
)
async def test_text_that_is_made_to_break_a_parser_breaks_nothing(house: House, name: str, text: str) -> None:
    if not name.endswith(".py"):
        parsers()
    agent = await house.agent()
    await write(agent, name, text)
    await write(agent, "fine.py", "import a\n")

    response = await agent.call("code.explain", {"path": name})

    assert response.status_code in (200, 422), response.text
    if response.status_code == 422:
        assert "parser" in response.json()["detail"]
    assert (await explained(agent, "fine.py"))["imports"][0]["module"] == "a"


@pytest.mark.slow
async def test_another_file_that_is_too_much_leaves_what_is_known(house: House) -> None:
    parsers()
    agent = await house.agent()
    await write(agent, "a.js", "function f() {}\nf();\n")
    for number in range(6):
        await write(agent, f"b{number}.js", "f(" * 240_000)

    response = await agent.call("code.explain", {"path": "a.js"}, superagent_deadline="12")

    assert response.status_code == 200, response.text
    found = response.json()["output"]

    assert found["complete"] is False
    assert [one["name"] for one in found["definitions"]] == ["f"]
    assert used(found["callers"])[0] == ("f", "a.js", 2, "", True)


async def test_a_workspace_puts_no_module_of_its_own_in_the_way(house: House) -> None:
    parsers()
    agent = await house.agent()
    for name in ("ast", "json", "inside", "sitecustomize", "tree_sitter", "encodings"):
        await write(agent, f"{name}.py", "import os; os.system('id > /tmp/hacked'); raise SystemExit('hacked')\n")
    await write(agent, "a.py", "def f(): pass\n")
    await write(agent, "a.js", "function f() {}\n")

    assert [one["name"] for one in (await explained(agent, "a.py"))["definitions"]] == ["f"]
    assert [one["name"] for one in (await explained(agent, "a.js"))["definitions"]] == ["f"]


async def test_names_with_tricks_are_shown_harmless(house: House) -> None:
    parsers()
    agent = await house.agent()
    await write(agent, "a.py", "class A:\n    '''\x1b[2J\u202eevil'''\n")
    await write(agent, "b.js", "import x from 'a\u202eb\x1b[2J';\n")

    assert (await explained(agent, "a.py"))["definitions"][0]["doc"] == "\ufffdevil"
    assert (await explained(agent, "b.js"))["imports"][0]["module"] == "a\ufffdb"
