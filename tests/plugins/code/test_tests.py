"""`code.test` over HTTP: real runners in the real sandbox, each test as data, and hostile projects contained."""

from __future__ import annotations

from typing import Any

import pytest

from tests.needs import program
from tests.plugins.code.inside import give_pytest, inside, write
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def results(caller: Caller, **input: Any) -> dict[str, Any]:
    return await caller.done("code.test", input)


def short(found: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["status"] for one in found["tests"]}


PYTHON = """
import pytest

def test_ok():
    pass

def test_bad():
    assert [1, 2] == [1, 3], "not\\x1b[31mthe same"

@pytest.mark.skip(reason="later")
def test_skip():
    pass

@pytest.fixture
def broken():
    raise KeyError("in the fixture")

def test_error(broken):
    pass
"""


async def test_pytest_of_the_project_tells_of_each_test(house: House) -> None:
    agent = await house.agent()
    give_pytest(agent.workspace)
    await write(agent, "pyproject.toml", "[tool.pytest.ini_options]\n")
    await write(agent, "tests/test_a.py", PYTHON)

    found = await results(agent, path=".")

    assert found["tool"]["name"] == "pytest"
    assert found["tool"]["path"] == "/workspace/.venv/bin/python"
    assert "configures it" in found["tool"]["why"]
    assert {name: found[name] for name in ("total", "passed", "failed", "errors", "skipped", "complete")} == {
        "total": 4, "passed": 1, "failed": 1, "errors": 1, "skipped": 1, "complete": True,
    }  # fmt: skip
    assert short(found) == {
        "tests.test_a::test_error": "error",
        "tests.test_a::test_bad": "failed",
        "tests.test_a::test_skip": "skipped",
        "tests.test_a::test_ok": "passed",
    }
    bad = found["tests"][1]
    assert (bad["file"], bad["line"]) == ("tests/test_a.py", 7)
    assert bad["seconds"] >= 0
    assert "assert [1, 2] == [1, 3]" in bad["message"]
    assert "\x1b" not in bad["message"] + found["said"]["output"]
    assert not list((agent.workspace / "tests").glob("__pycache__"))


@pytest.mark.slow
async def test_a_selector_and_a_path_choose_tests_and_coverage_is_measured(house: House) -> None:
    agent = await house.agent()
    give_pytest(agent.workspace)
    await write(agent, "lib.py", "def f(x):\n    if x:\n        return 1\n    return 2\n")
    await write(agent, "test_a.py", "from lib import f\n\ndef test_one():\n    assert f(1) == 1\n")
    await write(agent, "test_b.py", "def test_two(): pass\n\ndef test_three(): pass\n")
    await write(agent, "pytest.ini", "[pytest]\npythonpath = .\n")

    assert short(await results(agent, path="test_b.py", selector="three")) == {"test_b::test_three": "passed"}
    covered = await results(agent, path=".", with_coverage=True)

    assert {one["file"]: one["percent"] for one in covered["coverage"]["files"]}["lib.py"] == 75.0
    assert 0 < covered["coverage"]["percent"] <= 100
    assert covered["total"] == 3


async def test_without_pytest_the_standard_runner_tells_of_each_test(house: House) -> None:
    agent = await house.agent()
    text = (
        "import unittest\n\nclass T(unittest.TestCase):\n"
        "    def test_ok(self): pass\n"
        "    def test_bad(self): self.assertEqual(1, 2)\n"
        "    def test_error(self): raise KeyError('<x>&')\n"
        "    @unittest.skip('later')\n"
        "    def test_skip(self): pass\n"
        "    @unittest.expectedFailure\n"
        "    def test_better(self): pass\n"
        "    def test_parts(self):\n"
        "        for n in range(3):\n"
        "            with self.subTest(n=n): self.assertNotEqual(n, 1)\n"
        "class Broken(unittest.TestCase):\n"
        "    @classmethod\n"
        "    def setUpClass(cls): raise OSError('no ground')\n"
        "    def test_never(self): pass\n"
    )
    await write(agent, "proj/setup.py", "")
    await write(agent, "proj/test_a.py", text)
    await write(agent, "proj/test_broken.py", "import nothing_like_this\n")

    found = await results(agent, path="proj", language="python")
    file = await results(agent, path="proj/test_a.py", selector="*_ok")

    assert found["tool"]["name"] == "unittest"
    assert "pytest is not there" in found["tool"]["why"]
    assert short(found) == {
        "test_a.T.test_ok": "passed",
        "test_a.T.test_bad": "failed",
        "test_a.T.test_error": "error",
        "test_a.T.test_skip": "skipped",
        "test_a.T.test_better": "failed",
        "test_a.T.test_parts": "failed",
        "setUpClass (test_a.Broken)": "error",
        "unittest.loader._FailedTest.test_broken": "error",
    }
    by_name = {one["name"]: one for one in found["tests"]}
    assert "KeyError: '<x>&'" in by_name["test_a.T.test_error"]["message"]
    assert "n=1" in by_name["test_a.T.test_parts"]["message"]
    assert (by_name["test_a.T.test_bad"]["file"], by_name["test_a.T.test_bad"]["line"]) == ("proj/test_a.py", 5)
    assert short(file) == {"test_a.T.test_ok": "passed"}


async def test_nodes_own_runner_tells_of_each_test(house: House) -> None:
    inside("node", "nodejs")
    agent = await house.agent()
    await write(agent, "package.json", "{}")
    await write(agent, "lib.js", "exports.f = (x) => {\n  if (x) {\n    return 1;\n  }\n  return 2;\n};\n")
    await write(
        agent,
        "a.test.js",
        "const { test, describe, it } = require('node:test'); const assert = require('assert');\n"
        "test('adds', () => assert.equal(require('./lib').f(1), 1));\n"
        "test('fails', () => assert.equal(1, 2));\n"
        "describe('suite', () => {\n"
        "  it('in', () => {});\n"
        "  it('skips', { skip: 'why' }, () => {});\n"
        "  it('deep', async (t) => { await t.test('deeper', () => { throw new Error('boom'); }); });\n"
        "});\n",
    )

    found = await results(agent, path=".", with_coverage=True)

    assert found["tool"]["name"] == "node-test"
    assert short(found) == {
        "fails": "failed",
        "suite > deep > deeper": "failed",
        "suite > skips": "skipped",
        "adds": "passed",
        "suite > in": "passed",
    }
    assert {one["file"] for one in found["tests"]} == {"a.test.js"}
    assert found["tests"][0]["line"] == 3
    assert "1 == 2" in found["tests"][0]["message"]
    lib = {one["file"]: one["percent"] for one in found["coverage"]["files"]}["lib.js"]
    assert 50 < lib < 100
    assert short(await results(agent, path="a.test.js", selector="adds")) == {"adds": "passed"}


async def test_perls_runner_tells_of_each_test(house: House) -> None:
    inside("prove", "perl")
    agent = await house.agent()
    await write(
        agent,
        "t/a.t",
        "use Test::More; ok(1, 'one'); is(1, 2, 'two');\n"
        "subtest 'sub' => sub { ok(1, 'in'); ok(0, 'bad') };\n"
        "SKIP: { skip 'no', 1; ok(1) } done_testing;\n",
    )

    found = await results(agent, path="t", tool="prove")

    assert short(found) == {
        "two": "failed", "sub > bad": "failed", "skip no": "skipped", "one": "passed", "sub > in": "passed",
    }  # fmt: skip
    assert "got: '1'" in found["tests"][0]["message"]
    assert found["tests"][0]["file"] == "t/a.t"


async def test_tests_that_are_cut_off_are_said_to_be_incomplete(house: House) -> None:
    agent = await house.agent()
    await write(
        agent, "test_a.py", "import time, unittest\nclass T(unittest.TestCase):\n    def test_x(self): time.sleep(60)\n"
    )

    found = await results(agent, path="test_a.py", timeout_s=1.5)

    assert (found["complete"], found["said"]["limit"], found["total"]) == (False, "wall", 0)


async def test_a_dry_run_names_the_words_and_runs_nothing(house: House) -> None:
    agent = await house.agent()
    await write(agent, "test_a.py", "open('ran', 'w')\n")

    response = await agent.call("code.test", {"path": "test_a.py"}, x_dry_run="true")

    assert "would run `python3" in response.json()["output"]["summary"]
    assert not (agent.workspace / "ran").exists()


@pytest.mark.parametrize("selector", ["-p evil", "--config=x", "", "\0"])
async def test_a_selector_is_no_option(agent: Caller, selector: str) -> None:
    problem_of(await agent.call("code.test", {"path": ".", "selector": selector}), 422, "invalid-input")


async def test_a_path_that_is_not_there_and_a_project_of_nothing_say_so(house: House) -> None:
    agent = await house.agent()

    assert "nosuch.py" in problem_of(await agent.call("code.test", {"path": "nosuch.py"}), 404, "not-found")["detail"]
    found = problem_of(await agent.call("code.test", {"path": "."}), 422, "invalid-input")
    assert "pyproject.toml" in found["hint"]


async def test_a_project_that_cannot_even_begin_says_why(house: House) -> None:
    agent = await house.agent()
    give_pytest(agent.workspace)
    await write(agent, "pytest.ini", "[pytest]\naddopts = --nonsense\n")

    found = problem_of(await agent.call("code.test", {"path": "."}), 422, "invalid-input")

    assert "ended with 4" in found["detail"]
    assert "--nonsense" in found["detail"]


# ---- attacks


async def test_a_malicious_configuration_of_the_project_is_contained(house: House) -> None:
    agent = await house.agent()
    other = await house.agent()
    give_pytest(agent.workspace)
    await write(
        agent,
        "conftest.py",
        "import os, socket, pathlib, urllib.request\n"
        "out = []\n"
        f"places = '/etc/shadow {house.data}/state/owner.key {other.workspace} /root /proc/1/environ'\n"
        "for place in places.split():\n"
        "    try:\n"
        "        found = os.listdir(place) if os.path.isdir(place) else open(place).read()\n"
        "        out.append(f'{place} open {found}')\n"
        "    except OSError as e: out.append('refused')\n"
        f"try: socket.create_connection(('127.0.0.1', {house.port}), 2); out.append('connected')\n"
        "except OSError: out.append('refused')\n"
        "out.append(' '.join(sorted(os.environ)))\n"
        "pathlib.Path('/workspace/seen').write_text('\\n'.join(out))\n",
    )
    await write(agent, "test_a.py", "def test_x(): pass\n")

    found = await results(agent, path=".")
    seen = (await agent.done("files.read", {"path": "seen"}))["content"].splitlines()

    assert found["passed"] == 1
    assert [one for one in seen[:6] if one != "refused"] in ([], ["/proc/1/environ open "])
    assert not [one for one in seen[-1].split() if "SUPERAGENT" in one or "TOKEN" in one]


async def fake(house: House, report: str, after: str = "") -> Caller:
    """Give an agent whose project brings a Python that writes what it likes as the report of its tests."""
    agent = await house.agent()
    script = (
        "#!/bin/sh\n"
        'for word in "$@"; do case "$word" in --junitxml=*) to=${word#--junitxml=};; esac; done\n'
        '[ -n "$to" ] || exit 0\n'
        f"cat > \"$to\" <<'END'\n{report}\nEND\n{after}\n"
    )
    await write(agent, ".venv/bin/python", script, "0755")
    await write(agent, "pytest.ini", "[pytest]\n")
    return agent


BILLION = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + ']><testsuites><testcase name="x"><failure>&j;</failure></testcase></testsuites>'
)


@pytest.mark.parametrize(
    "report",
    [
        BILLION,
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><testsuites><testcase name="&f;"/></testsuites>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><testsuites/>',
        "<a>" * 100_000,
        "<testsuites><testcase",
        "no xml",
        "",
    ],
    ids=["billion laughs", "external entity", "external type", "depth", "cut off", "text", "nothing"],
)
async def test_reports_that_are_bombs_or_nothing_are_refused(house: House, report: str) -> None:
    agent = await fake(house, report)

    found = problem_of(await agent.call("code.test", {"path": "."}), 503, "unavailable")

    assert "`pytest`" in found["detail"]
    assert "root:" not in str(found)


async def test_what_a_report_says_is_cleaned_and_kept_within_the_workspace(house: House) -> None:
    rows = [
        '<testcase name="a&#10;b" file="../../etc/passwd" line="4" time="1e400">'
        '<failure message="x">\u202e\x1b[2Jm</failure></testcase>',
        '<testcase name="c" file="/workspace/ok.py" line="-4" time="nan"/>',
        f'<testcase name="{"n" * 5000}"><error>{"m" * 200_000}</error></testcase>',
    ]
    agent = await fake(house, f"<testsuites>{''.join(rows).replace(chr(27), '')}</testsuites>")

    found = await results(agent, path=".")

    by = {one["name"][:1]: one for one in found["tests"]}
    assert by["a"]["name"] == "a b"
    assert (by["a"]["file"], by["a"]["seconds"]) == (None, None)
    assert by["a"]["message"].startswith("x")
    assert "\u202e" not in by["a"]["message"]
    assert (by["c"]["file"], by["c"]["line"], by["c"]["seconds"]) == ("ok.py", None, None)
    assert len(by["n"]["name"]) < 600
    assert len(by["n"]["message"]) < 5000


async def test_a_giant_report_is_refused_and_the_server_stays(house: House) -> None:
    agent = await fake(house, "", after='yes "<testcase name=\'x\'/>" | head -c 40000000 > "$to"')

    problem_of(await agent.call("code.test", {"path": "."}), 413, "too-large")


async def test_a_report_made_to_be_costly_is_read_in_time(house: House) -> None:
    """A megabyte of this took longer than anybody waits, in a thread that nothing can end."""
    agent = await house.agent()
    await write(agent, "Cargo.toml", "[package]\n")
    rows = ("yes 'test a ... ok' | head -40000", "yes x | head -200000")
    script = f"#!/bin/sh\necho 'test b ... FAILED'\n{rows[0]}\necho '---- b stdout ----'\n{rows[1]}\nexit 101\n"
    await write(agent, ".venv/bin/cargo", script, "0755")

    found = await results(agent, path=".")

    assert (found["total"], found["failed"], found["tests"][0]["name"]) == (40_001, 1, "b")
    assert len(found["tests"][0]["message"]) <= 4010
