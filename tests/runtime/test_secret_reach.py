"""A value is given to operations that declared it, where policy grants it, for what it is for; and it is recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.connections import SecretUse
from superagent.core.grants import Grant
from superagent.core.principal import Secret
from superagent.core.redactor import present
from superagent.runtime.secret_reach import SqlSecretReach
from superagent.sdk import Internal
from superagent.testing import agent, person
from tests.runtime.secret_world import SecretWorld
from tests.runtime.stores import Stores, stores

pytestmark = pytest.mark.usefixtures("each_database")

VALUE = "hunter22-in-the-vault"
BUILDER = agent("builder", of=person("ada"))
ASK, RUN = "use.ask", "use.run"


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


async def world(made: Stores, *grants: Grant, use: SecretUse | None = None) -> SecretWorld:
    here = SecretWorld(made, *grants)
    await here.put("token", VALUE, use)
    await here.connect("github", "token")
    return here


def allow(*operations: str, names: list[str] | None = None, subject: str = "*") -> Grant:
    where = {"connections": names} if names is not None else {}
    return Grant.model_validate(
        {"id": f"{subject} {operations} {names}", "effect": "allow", "subject": subject, "operations": list(operations),
         "where": where}
    )  # fmt: skip


def slug(outcome: Any) -> str | None:
    return outcome.problem and outcome.problem.slug


# ---- giving


async def test_behind_a_connection_the_value_is_given_for_its_host_and_recorded(made: Stores) -> None:
    here = await world(made)

    outcome = await here.run(ASK, {"connection": "github"}, by=BUILDER)

    assert outcome.result() == {"text": "shown [secret token]", "values": 1}
    resources = (("connection://-/github", "READ"), ("secret://-/token", "READ"))
    detail = {"for": "host api.example.org:443", "version": "1", "by": ASK}
    assert here.told("secrets.resolve") == [("event", resources, detail)]
    (record,) = [one for one in here.world.audit.durably if one.operation == "secrets.resolve"]
    assert (record.who, record.chain_of, record.invocation) == ("builder", ("builder", "ada"), outcome.invocation)


async def test_a_secret_itself_is_given_for_a_run_and_recorded(made: Stores) -> None:
    here = await world(made)

    outcome = await here.run(RUN, {"secret": "token"})

    assert outcome.result()["text"] == "TOKEN=[secret token]"
    detail = {"for": "job job-1", "version": "1", "by": RUN}
    assert here.told("secrets.resolve") == [("event", (("secret://-/token", "READ"),), detail)]


async def test_while_they_overlap_both_values_are_given_and_both_are_redacted(made: Stores) -> None:
    here = await world(made)
    await here.put("token", "second-value-of-it", overlap_s=60.0)

    outcome = await here.run(ASK, {"connection": "github"})

    assert outcome.result() == {"text": "shown [secret token] shown [secret token]", "values": 2}


async def test_a_proxy_is_given_the_header_that_shows_the_secret(made: Stores) -> None:
    here = await world(made)
    outcome = await here.run("use.header", {"connection": "github"})
    assert outcome.result()["text"] == "api.example.org:443 Authorization: Bearer [secret token]"
    assert [kind for kind, _, _ in here.told("secrets.resolve")] == ["event"]


async def test_a_secret_that_goes_in_no_header_is_not_given_for_one(made: Stores) -> None:
    here = await world(made)
    here.types["http"] = dataclasses.replace(here.types["http"], shows=None)
    assert slug(await here.run("use.header", {"connection": "github"})) == "unavailable"
    del here.types["http"]
    assert slug(await here.run("use.header", {"connection": "github"})) == "unavailable"
    assert here.told("secrets.resolve") == []


async def test_a_connection_can_be_looked_at_without_its_value(made: Stores) -> None:
    here = await world(made)
    assert (await here.run("use.look", {"connection": "github"})).result()["text"] == "https://api.example.org:443"
    assert here.told("secrets.resolve") == []


# ---- refusing: each is refused and recorded


async def refused(here: SecretWorld, operation: str, input: dict[str, Any], expected: str, why: str = "") -> None:
    before = len(here.told("secrets.resolve"))
    outcome = await here.run(operation, input, by=BUILDER)
    assert slug(outcome) == expected, outcome
    (record,) = here.told("secrets.resolve")[before:]
    assert record[0] == "refused"
    assert why in record[2]["why"]
    assert VALUE not in repr(here.world.audit.records)


def naming(*names: str, effect: str = "allow") -> Grant:
    """Grant a call of `use.any`, and of what it uses only these names."""
    fields = {"effect": effect, "subject": "*", "operations": ["use.*"]}
    return Grant.model_validate(
        {"id": f"{effect} {names}", **fields, "where": {"paths": ["/srv/**"], "connections": list(names)}}
    )


@pytest.mark.parametrize(
    ("names", "wanted", "given"),
    [
        (["github"], "github", True),
        (["secret:token"], "secret:token", True),
        # leave to use one connection is none for another, nor for a secret, whatever its name
        (["gitlab"], "github", False),
        (["*"], "secret:token", False),
        (["token"], "secret:token", False),
        (["secret:other"], "secret:token", False),
        # leave to use a secret is none to use a connection that names it
        (["secret:*"], "github", False),
        (["secret:token"], "github", False),
    ],
)
async def test_what_no_grant_names_is_not_given(made: Stores, names: list[str], wanted: str, given: bool) -> None:
    here = await world(made, naming(*names))
    if given:
        assert slug(await here.run("use.any", {"name": wanted})) is None
    else:
        await refused(here, "use.any", {"name": wanted}, "not-found")


async def test_a_name_that_may_be_seen_but_not_used_by_this_operation_is_denied(made: Stores) -> None:
    closed = {"id": "no", "effect": "deny", "subject": "*", "operations": ["use.any"]}
    names = {"connections": ["github", "secret:token"]}
    here = await world(made, allow("use.*"), Grant.model_validate({**closed, "where": names}))
    await refused(here, "use.any", {"name": "github"}, "denied", "not granted")
    await refused(here, "use.any", {"name": "secret:token"}, "denied", "not granted")
    assert slug(await here.run(ASK, {"connection": "github"})) is None


async def test_an_input_that_names_a_secret_is_refused_before_anything_begins(made: Stores) -> None:
    here = await world(made, allow("use.*", names=["gitlab", "secret:other"]))
    for operation, input in ((ASK, {"connection": "github"}), (RUN, {"secret": "token"})):
        assert slug(await here.run(operation, input)) == "not-found"
        assert here.told(operation)[0][0] == "refused"
    assert here.told("secrets.resolve") == []


async def test_the_value_of_a_connection_goes_to_its_host_only(made: Stores) -> None:
    here = await world(made)
    await refused(here, ASK, {"connection": "github", "host": "evil.example"}, "denied", "and nowhere else")
    await refused(here, ASK, {"connection": "github", "host": "api.example.org:8443"}, "denied", "and nowhere else")
    await refused(here, ASK, {"connection": "github", "job": "job-1"}, "denied", "and nowhere else")
    await refused(here, ASK, {"connection": "github", "host": "no host"}, "invalid-input")
    assert slug(await here.run(ASK, {"connection": "github", "host": "https://API.example.org/x"})) is None


@pytest.mark.parametrize(
    ("use", "host_ok", "run_ok"),
    [
        (SecretUse(), True, True),
        (SecretUse(runs=False), True, False),
        (SecretUse(("*.example.org",)), True, False),
        (SecretUse(("api.example.org:443",), runs=False), True, False),
        (SecretUse(("other.example", "api.example.org:80")), False, False),
    ],
)
async def test_a_secret_is_given_for_what_it_is_for(made: Stores, use: SecretUse, host_ok: bool, run_ok: bool) -> None:
    here = await world(made, use=use)
    outcomes = [await here.run(ASK, {"connection": "github"}), await here.run(RUN, {"secret": "token"})]
    assert [slug(one) for one in outcomes] == [None if ok else "denied" for ok in (host_ok, run_ok)]
    kinds = [kind for kind, _, _ in here.told("secrets.resolve")]
    assert kinds == ["event" if ok else "refused" for ok in (host_ok, run_ok)]


async def test_an_older_value_that_is_not_for_this_is_left_out(made: Stores) -> None:
    here = await world(made, use=SecretUse(("other.example",)))
    await here.put("token", "second-value-of-it", SecretUse(), overlap_s=60.0)
    assert (await here.run(ASK, {"connection": "github"})).result() == {"text": "shown [secret token]", "values": 1}


async def test_what_is_not_there_has_no_value(made: Stores) -> None:
    here = await world(made)
    await here.connect("open")
    await refused(here, ASK, {"connection": "nowhere"}, "not-found", "no connection `nowhere`")
    await refused(here, ASK, {"connection": "open"}, "conflict", "has no secret")
    await refused(here, RUN, {"secret": "nothing"}, "not-found", "no secret `nothing`")


async def test_a_connection_does_not_follow_its_name_to_another_secret(made: Stores) -> None:
    """Whoever made a connection to a host of theirs must not get what somebody puts under that name later."""
    here = await world(made)
    await here.secrets.point("default", "token", None)
    await here.put("token", "the-secret-of-somebody-else")
    await refused(here, ASK, {"connection": "github"}, "conflict", "made anew")


async def test_without_the_record_there_is_no_value(made: Stores) -> None:
    here = await world(made)
    here.world.audit.failing = True
    outcome = await here.run(RUN, {"secret": "token"})
    assert slug(outcome) == "audit-unavailable"
    assert VALUE not in repr(outcome)


async def test_an_author_says_what_a_secret_is_for(made: Stores) -> None:
    here = await world(made)
    await refused(here, RUN, {"secret": "token", "job": ""}, "internal", "for which host")
    await refused(here, RUN, {"secret": "token", "host": "api.example.org"}, "internal", "for which host")


async def test_an_operation_that_did_not_declare_it_has_no_secrets(made: Stores) -> None:
    here = await world(made)
    assert slug(await here.run("use.nothing", {"connection": "github"})) == "internal"


async def test_outside_of_its_call_nothing_can_be_had(made: Stores) -> None:
    here = await world(made)
    assert present.get() is None
    reach = SqlSecretReach(_Nothing(), here.secrets, here.connections, here.world.audit, {})  # pyright: ignore[reportArgumentType]
    with pytest.raises(Internal, match="while its call runs"):
        await reach.resolve("github")


class _Nothing:
    redactor = None


async def test_a_tenant_has_no_way_to_the_secrets_of_another(made: Stores) -> None:
    here = await world(made)
    await here.secrets.put("other", "theirs", Secret("the-secret-of-others"), None, "eve")
    await refused(here, RUN, {"secret": "theirs"}, "not-found", "no secret `theirs`")
    assert [one["name"] for one in (await here.run("secrets.list", {})).result()["secrets"]] == ["token"]
