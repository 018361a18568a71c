"""The built-in roles: what each may do, cell by cell, as contract.md says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from superagent.core.operation import Operation
from superagent.core.plugin import Plugin
from superagent.core.policy import Facts, Policy
from superagent.core.principal import Principal
from superagent.core.resources import DestroyPath, Effect, Protected, Resource, Risk, WritePath
from superagent.features.access import operations as access
from superagent.features.approvals import operations as approvals
from superagent.features.audit import operations as audit
from superagent.features.catalogue import operations as catalogue
from superagent.features.settings import operations as settings
from superagent.features.undo import operations as undo
from superagent.plugins.files.operations import files
from superagent.plugins.shell.operations import shell
from superagent.runtime.policies import EVERYBODY, SYSTEM, built_in, role_names

WORKSPACE, ROOT = "/data/workspaces/default/me", "/srv/app"
PROTECTED = Protected(("/data",), "/data/workspaces")
NONE = cast(Any, None)  # the stores behind the operations play no part in a decision
STORES = dict.fromkeys(("people", "tenants", "groups", "roles", "agents", "stops", "keys"))
ROOM = cast(Any, SimpleNamespace(budgets=SimpleNamespace(of_key={}), keepers={}, **STORES))

worse = Plugin("files")


@worse.operation(risk=Risk.HIGH, irreversible="the blocks are overwritten")
async def shred(ctx: Any, path: DestroyPath) -> None:
    """Destroy a file for good."""


@shred.preview
async def _(ctx: Any, path: DestroyPath) -> Any: ...


@worse.operation(risk=Risk.CRITICAL, irreversible="nobody knows what it does")
async def upend(ctx: Any, path: WritePath) -> None:
    """Change a file in the worst way."""


PLUGINS = [
    files, worse, shell, access.plugin(ROOM), approvals.plugin(NONE, NONE), audit.plugin(NONE, NONE),
    catalogue.plugin(NONE, NONE), settings.plugin(NONE), undo.plugin(NONE, NONE),
]  # fmt: skip
OPERATIONS: dict[str, Operation] = {one.name: one for plugin in PLUGINS for one in plugin.compile()}

# what is tried: the operation, and where
TRIES: dict[str, tuple[str, str]] = {
    "read inside": ("files.read", f"{WORKSPACE}/a"),
    "change inside": ("files.write", f"{WORKSPACE}/a"),
    "destroy inside": ("files.delete", f"{WORKSPACE}/a"),
    "shred inside": ("files.shred", f"{WORKSPACE}/a"),
    "read root": ("files.read", f"{ROOT}/a"),
    "change root": ("files.write", f"{ROOT}/a"),
    "destroy root": ("files.delete", f"{ROOT}/a"),
    "read outside": ("files.read", "/etc/hosts"),
    "change outside": ("files.write", "/etc/hosts"),
    "critical": ("files.upend", f"{WORKSPACE}/a"),
    "state": ("files.read", "/data/state/owner.key"),
    "instance read": ("settings.list", ""),
    "instance change": ("settings.set", ""),
    "keys": ("access.keys.create", ""),
    "approve": ("approvals.decide", ""),
    "audit": ("audit.query", ""),
    "undo": ("undo.apply", ""),
    "search": ("catalogue.search", ""),
    "whoami": ("access.whoami", ""),
    "run": ("shell.exec", WORKSPACE),
    "run root": ("shell.exec", ROOT),
}

# one letter a try, in the order above: Allow, asK, Step-up, - deny
TABLE = {
    #                  inside root   outside critical state instance people audit everybody run
    "owner":          "AAAA AAA  AA  S  -  --  AA  A  AAA  AA",
    "instance-owner": "---- ---  --  -  -  AA  --  -  AAA  --",
    "admin":          "---- ---  --  -  -  --  AA  -  AAA  --",
    "operator":       "AAKK AAK  --  -  -  --  -A  -  AAA  --",
    "developer":      "AAAA KKK  KK  K  -  --  --  -  AAA  AK",
    "viewer":         "A--- A--  --  -  -  --  --  -  AAA  --",
    "auditor":        "---- ---  --  -  -  --  --  A  AAA  --",
    "agent":          "AAAK KKK  KK  K  -  --  --  -  AAA  A-",
    "application":    "AAAK AAA  AA  K  -  --  --  A  AAA  AA",
    "none":           "---- ---  --  -  -  --  --  -  AAA  --",
}  # fmt: skip
LETTERS = {"allow": "A", "ask": "K", "step_up": "S", "deny": "-"}


def judged_by(tenant: str) -> Policy:
    return Policy(built_in(), 1, PROTECTED, (ROOT,), tenant == SYSTEM)


def person(*roles: str, workspace: str = WORKSPACE) -> Principal:
    return Principal("me", "human", "default", roles, workspace=workspace)


def key(role: str) -> Principal:
    return Principal("me", "agent", "default", (role,), person("owner", workspace=""), WORKSPACE)


def verdict(who: Principal, what: str, tenant: str = "default", **facts: Any) -> str:
    name, path = TRIES[what]
    operation = OPERATIONS[name]
    effects = [touch.effect for touch in operation.touched] or [operation.effect]
    resources = tuple(Resource("path", "local", path, effect) for effect in effects) if path else ()
    origin = "human" if who.kind == "human" else "agent"
    given: dict[str, Any] = {"origin": origin, "risk": operation.risk, "now": 0.0} | facts
    return judged_by(tenant).decide(who, operation, resources, Facts(**given)).verdict


def cells() -> list[tuple[str, str, str]]:
    return [
        (role, what, letter)
        for role, letters in TABLE.items()
        for what, letter in zip(TRIES, letters.replace(" ", ""), strict=True)
    ]


def test_the_table_names_every_role() -> None:
    assert set(TABLE) == {*role_names(), "none"}


@pytest.mark.parametrize(("role", "what", "letter"), cells())
def test_each_role_may_do_what_the_table_says(role: str, what: str, letter: str) -> None:
    who = key(role) if role in ("agent", "application") else person(role)
    assert LETTERS[verdict(who, what)] == letter


def test_a_fresh_second_factor_opens_what_is_critical_to_the_owner_alone() -> None:
    assert verdict(person("owner"), "critical", second_factor_age_s=899.0) == "allow"
    assert verdict(person("owner"), "critical", second_factor_age_s=901.0) == "step_up"
    assert verdict(person("admin"), "critical", second_factor_age_s=0.0) == "deny"


def test_what_is_critical_always_asks_for_an_agent_even_after_a_second_factor() -> None:
    assert verdict(key("agent"), "critical", second_factor_age_s=0.0) == "ask"
    assert verdict(key("agent"), "critical", approvals=1) == "allow"


@pytest.mark.parametrize("role", role_names())
@pytest.mark.parametrize("what", ["keys", "approve", "instance change"])
@pytest.mark.parametrize("tenant", ["default", SYSTEM])
def test_no_role_lets_an_agent_widen_its_own_rights(role: str, what: str, tenant: str) -> None:
    agent = Principal("bot", "agent", "default", (role,), person("owner", "instance-owner"), WORKSPACE)
    for origin in ("agent", "workflow"):
        assert verdict(agent, what, tenant, origin=origin, second_factor_age_s=0.0, approvals=10) == "deny"


@pytest.mark.parametrize("role", role_names())
def test_no_role_reaches_the_platforms_own_places(role: str) -> None:
    assert verdict(person(*role_names()), "state", second_factor_age_s=0.0, approvals=10) == "deny"
    assert verdict(key(role), "state", second_factor_age_s=0.0, approvals=10) == "deny"


@pytest.mark.parametrize("role", [role for role in role_names() if role != "owner"])
def test_an_agent_with_a_role_can_do_no_more_than_the_person_behind_it(role: str) -> None:
    agent = Principal("bot", "agent", "default", ("owner",), person(role), WORKSPACE)
    order = ["deny", "step_up", "ask", "allow"]
    for what in TRIES:
        mine = verdict(person(role), what, origin="agent")
        assert order.index(verdict(agent, what)) <= order.index(mine), what


def test_a_stranger_has_none_of_everybodys_rights() -> None:
    stranger = Principal("anonymous", "anonymous", "default")
    assert {verdict(stranger, what) for what in TRIES} == {"deny"}


def test_an_agent_without_a_workspace_has_to_ask_for_every_file() -> None:
    nowhere = Principal("me", "agent", "default", ("agent",), person("owner"), "")
    assert {verdict(nowhere, what) for what in ("read inside", "change inside", "read outside")} == {"ask"}


def test_everything_that_acts_has_the_grants_of_everybody() -> None:
    subjects = {grant.subject for grant in built_in() if grant.id.startswith(f"role:{EVERYBODY}:")}
    assert subjects == {"*"}
    assert len({grant.id for grant in built_in()}) == len(built_in())


def test_only_the_roles_made_for_it_reach_the_installation() -> None:
    reaching = {grant.subject for grant in built_in() if grant.instance and grant.effect != "deny"}
    assert reaching == {"role:instance-owner"}
    assert OPERATIONS["settings.set"].effect == Effect.CHANGE
