"""Mounts: what a feature serves beside the single POST reaches the kernel only, and as nobody more than who asks."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from superagent.app import install
from superagent.core.mounts import Mount, Receive, Scope, Send, answer, mount_of, visit_of
from superagent.runtime.policies import for_strangers
from superagent.sdk import Plugin
from tests.promise import ROOT
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    visit = visit_of(scope)
    if visit.path == "/broken":
        raise RuntimeError("the mount broke")
    if visit.path == "/form":
        said: object = await visit.form()
    else:
        outcome = await visit.call(visit.query.get("call", "access.whoami"), {})
        said = outcome.plain() if outcome.problem is None else outcome.problem.document(outcome.invocation)
    await answer(send, 200, json.dumps(said).encode(), [(b"content-type", b"application/json")])


@pytest.fixture(autouse=True)
def mounted(house: House) -> Generator[None]:
    kernel = house.installation.kernel
    before = kernel.mounts
    kernel.mounts = (*before, Mount("/try", app, public=True), Mount("/closed", app, public=False))
    yield
    kernel.mounts = before


async def test_a_public_mount_calls_as_a_stranger_when_nobody_is_known(house: House) -> None:
    response = await house.stranger.get("/try/me")

    assert response.json()["output"]["kind"] == "anonymous"
    assert response.json()["output"]["tenant"] == "-"


async def test_every_response_of_a_mount_is_what_it_says_and_in_nobodys_frame(house: House) -> None:
    for path in (
        "/try/who",
        "/plugins/authorized",
        "/oauth/authorize",
        "/sign-in",
        "/ui",
        "/.well-known/agent-card.json",
    ):
        headers = (await house.stranger.get(path)).headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY"), path


async def test_a_mount_calls_as_whoever_shows_a_key(house: House) -> None:
    for path in ("/try", "/closed"):
        assert (await house.owner.get(path)).json()["output"]["id"] == "owner"


async def test_a_wrong_key_is_not_taken_for_no_key(house: House) -> None:
    problem_of(await house.stranger.get("/try", headers={"X-API-Key": "nonsense"}), 401, "unauthenticated")


async def test_a_closed_mount_does_not_answer_strangers(house: House) -> None:
    problem_of(await house.stranger.get("/closed"), 401, "unauthenticated")


async def test_a_stranger_may_call_the_closed_set_and_nothing_else(house: House) -> None:
    open_ones = {name for grant in for_strangers() for name in grant.operations}
    registry = house.installation.kernel.registry
    for operation in [one.name for one in registry if one.name not in open_ones][:40]:
        refused = (await house.stranger.get("/try", params={"call": operation})).json()
        assert refused["status"] in (404, 429), refused
    found = await house.owner.done("audit.installation", {"text": "anonymous", "limit": 1000})
    assert any(one["kind"] == "refused" and one["who"] == "anonymous" for one in found["records"])


async def test_a_handler_that_breaks_is_answered_with_a_problem(house: House) -> None:
    problem_of(await house.stranger.get("/try/broken"), 500, "internal")


async def test_a_form_is_read_strictly_and_under_the_cap(house: House, strict_house: House) -> None:
    assert (await house.stranger.post("/try/form", data={"a": "b"})).json() == {"a": "b"}
    twice = await house.stranger.post(
        "/try/form", content=b"a=1&a=2", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    problem_of(twice, 400, "malformed")
    problem_of(await house.stranger.post("/try/form", json={"a": 1}), 400, "malformed")
    problem_of(await house.stranger.post("/try/form", data={"a": "b" * 2**21}), 413, "too-large")


async def test_the_longest_prefix_serves(house: House) -> None:
    short, long = Mount("/a", app, public=True), Mount("/a/b", app, public=True)

    assert mount_of((short, long), "/a/b/c") is long
    assert mount_of((short, long), "/a/bc") is short
    assert mount_of((short, long), "/ab") is None


@pytest.mark.parametrize("prefix", ["", "/", "a", "/a/", "/v1", "/v1/x"])
async def test_a_mount_never_covers_the_line(prefix: str) -> None:
    with pytest.raises(TypeError):
        Plugin("x").mount(prefix, app)


_WAYS, _PROVIDER = "tests/features/sign_in/test_ways_in.py", "tests/features/sign_in/test_provider.py"
SHOWN = {
    "access.whoami": (
        "tests/surfaces/http/test_mounts.py",
        "test_a_public_mount_calls_as_a_stranger_when_nobody_is_known",
    ),
    "signin.password": (_WAYS, "test_a_password_alone_is_enough_until_there_is_a_second_factor"),
    "signin.code": (_WAYS, "test_a_one_time_code_is_taken_once"),
    "signin.passkey.ask": (_WAYS, "test_an_answer_of_a_passkey_is_taken_once"),
    "signin.passkey": (_WAYS, "test_a_passkey_that_does_not_answer_rightly_is_refused"),
    "signin.link": (_WAYS, "test_a_link_is_taken_once_and_looking_at_it_does_not_take_it"),
    "signin.provider.begin": (_PROVIDER, "test_without_a_provider_there_is_none"),
    "signin.provider": (_PROVIDER, "test_an_answer_that_is_not_the_one_is_refused"),
}
"""What strangers may call of sign-in, and the test that shows each."""


async def test_the_closed_set_is_this_and_each_of_it_has_a_test() -> None:
    found = {name for grant in for_strangers() for name in grant.operations}

    assert {name for name in found if not name.startswith("oauth.")} == set(SHOWN)
    for file, test in SHOWN.values():
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), test
    for grant in for_strangers():
        assert grant.subject == "anonymous:anonymous"


async def test_what_strangers_may_call_is_named_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "roles.toml"
    file.write_text('[[anonymous]]\neffect = "allow"\noperations = ["signin.*"]\n')

    with pytest.raises(ValueError, match="one by one"):
        for_strangers(file)


async def test_only_what_is_built_in_serves_routes(house: House) -> None:
    other = Plugin("other")
    other.mount("/other", app)

    with pytest.raises(TypeError, match="built in"):
        install(house.installation.kernel, (), (other,))
