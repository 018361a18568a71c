"""Allowed cells for real: for each domain a few operations on things that nobody misses, by whom policy lets."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.matrix.world import OWN, WHO, Actor, World, world_in
from tests.promise import promise

pytestmark = pytest.mark.asyncio(loop_scope="session")

_numbers = itertools.count(1)
Makes = Callable[[Actor, Path, int], dict[str, Any]]


def _grant(actor: Actor, folder: Path, number: int) -> dict[str, Any]:
    return {"effect": "deny", "subject": f"agent:disposable-{number}", "operations": ["files.read"]}


DISPOSABLE: dict[str, Makes] = {
    "access.whoami": lambda a, f, n: {},
    "access.keys.create": lambda a, f, n: {"name": f"disposable-{n}"},
    "access.keys.list": lambda a, f, n: {},
    "approvals.list": lambda a, f, n: {},
    "audit.query": lambda a, f, n: {"limit": 1},
    "catalogue.search": lambda a, f, n: {"query": "read"},
    "code.explain": lambda a, f, n: {"path": str(f / "file.py")},
    "connections.create": lambda a, f, n: {"name": f"c{n}", "type": "http", "endpoint": "https://nowhere.example"},
    "connections.list": lambda a, f, n: {},
    "files.write": lambda a, f, n: {"path": str(f / f"disposable-{n}"), "content": "x"},
    "files.mkdir": lambda a, f, n: {"path": str(f / f"folder-{n}")},
    "files.read": lambda a, f, n: {"path": str(f / "file.txt")},
    "files.list": lambda a, f, n: {"path": str(f)},
    "grants.create": lambda a, f, n: {"grant": _grant(a, f, n)},
    "grants.list": lambda a, f, n: {},
    "jobs.list": lambda a, f, n: {},
    "plugins.list": lambda a, f, n: {},
    "policy.apply": lambda a, f, n: {"add": [_grant(a, f, n)]},
    "policy.export": lambda a, f, n: {},
    "policy.list": lambda a, f, n: {},
    "policy.propose": lambda a, f, n: {"add": [_grant(a, f, n)]},
    "processes.list": lambda a, f, n: {},
    "secrets.put": lambda a, f, n: {"name": f"s{n}", "value": "disposable"},
    "secrets.list": lambda a, f, n: {},
    "settings.list": lambda a, f, n: {},
    "shell.explain": lambda a, f, n: {"command": "ls"},
    "undo.list": lambda a, f, n: {},
}
ELSEWHERE = {
    "oauth": "each call needs a client, a code or a token: `tests/features/oauth`",
    "signin": "each call needs a browser, or a proof of a person: `tests/features/sign_in`",
    "agents": "each call needs an agent elsewhere: `tests/runtime/a2a_client`",
    "probe": "made for the tests of surfaces",
    "result": "needs a handle that the caller made: `tests/surfaces/http/test_large.py`",
    "sql": "each call needs a connection to a database: `tests/plugins/sql`",
    "sandbox": "needs a view that a command left: `tests/features/test_sandbox_installation.py`",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with world_in(tmp_path_factory.mktemp("disposable")) as made:
        for folder in (made.root, made.outside, *(made.actor(OWN, who).caller.workspace for who in WHO)):
            (folder / "file.py").write_text("x = 1\n")
        yield made


async def test_every_domain_has_something_that_is_called_for_real(world: World) -> None:
    registry = world.house.installation.kernel.registry
    domains = {operation.domain for operation in registry}
    assert {name for name in DISPOSABLE if registry.find(name) is None} == set()
    assert domains - {name.partition(".")[0] for name in DISPOSABLE} == set(ELSEWHERE)


@promise("1.1")
@pytest.mark.parametrize("who", WHO)
async def test_what_is_explained_as_allowed_is_done(world: World, who: str) -> None:
    actor, asker = world.actor(OWN, who), world.actor(OWN, "owner").caller
    folder = world.folder(OWN, who, "inside")
    allowed = 0
    for name, makes in DISPOSABLE.items():
        input = makes(actor, folder, next(_numbers))
        asked = {"operation": name, "input": input, "actor": actor.subject, "remote": "127.0.0.1"}
        asked |= {"second_factor_age_s": 0.0} if actor.subject.startswith("user:") else {}
        told = await asker.done("policy.explain", asked)
        if told["verdict"] != "allow":
            continue
        response = await actor.caller.call(name, input)
        assert response.status_code == 200, f"{name}: explained as allowed, answered {response.text}"
        found = await world.house.records(invocation=response.headers["x-invocation-id"])
        kinds = {one["kind"] for one in found if one.get("operation") == name}
        changes = world.house.installation.kernel.registry.get(name).effect > 0
        assert kinds == ({"intent", "outcome"} if changes else {"outcome"}), f"{name}: {found}"
        assert all(one["policy_version"] == told["policy_version"] for one in found if one.get("operation") == name)
        allowed += 1
    assert allowed >= 5, f"{who} may do next to nothing"
