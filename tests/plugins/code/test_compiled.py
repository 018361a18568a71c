"""Go and Rust over HTTP, where their tools are installed: run, test, lint and format in the real sandbox."""

from __future__ import annotations

import pytest

from tests.needs import program
from tests.plugins.code.inside import inside, write
from tests.surfaces.http.house import Caller, House

pytestmark = pytest.mark.asyncio(loop_scope="session")

GO = "package a\n\nfunc F(x int) int {\nx = x\n  return x }\n"
GO_TEST = (
    'package a\n\nimport "testing"\n\nfunc TestOk(t *testing.T) { F(1) }\n\n'
    'func TestBad(t *testing.T) { t.Fatal("because") }\n'
)
RUST = (
    "pub fn f(x: i32) -> i32 { x }\n#[cfg(test)]\nmod tests {\n    use super::*;\n"
    "    #[test] fn ok() { assert_eq!(f(1), 1); }\n    #[test] fn bad() { assert_eq!(f(1), 2); }\n}\n"
)


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def results(agent: Caller, path: str) -> dict[str, str]:
    found = await agent.done("code.test", {"path": path})
    assert found["complete"], found["said"]
    return {one["name"]: one["status"] for one in found["tests"]}


@pytest.mark.slow
async def test_go_is_run_tested_vetted_and_formatted(house: House) -> None:
    inside("go", "golang-go")
    agent = await house.agent()
    await write(agent, "go.mod", "module example.org/a\n\ngo 1.19\n")
    await write(agent, "a.go", GO)
    await write(agent, "a_test.go", GO_TEST)

    ran = await agent.done("code.run", {"language": "go", "content": 'package main\nfunc main() { println("hi") }\n'})
    vetted = await agent.done("code.lint", {"path": ".", "tool": "go-vet"})
    tested = await results(agent, ".")
    formatted = await agent.done("code.format", {"path": "a.go"})

    assert (ran["exit_code"], ran["stderr"]) == (0, "hi\n")
    assert [(one["file"], one["line"]) for one in vetted["diagnostics"]] == [("a.go", 4)]
    assert "self-assignment" in vetted["diagnostics"][0]["message"]
    assert tested == {"example.org/a.TestOk": "passed", "example.org/a.TestBad": "failed"}
    assert "+\treturn x\n" in formatted["changed"][0]["diff"]


@pytest.mark.slow
async def test_rust_is_run_tested_and_formatted(house: House) -> None:
    for name in ("rustc", "cargo", "rustfmt"):
        inside(name)
    agent = await house.agent()
    await write(agent, "Cargo.toml", '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n')
    await write(agent, "src/lib.rs", RUST)

    ran = await agent.done("code.run", {"language": "rust", "content": 'fn main() { println!("hi") }\n'})
    tested = await results(agent, ".")
    formatted = await agent.done("code.format", {"path": "src/lib.rs"})

    assert (ran["exit_code"], ran["stdout"]) == (0, "hi\n")
    assert tested == {"tests::ok": "passed", "tests::bad": "failed"}
    assert "+    fn ok() {\n" in formatted["changed"][0]["diff"]
