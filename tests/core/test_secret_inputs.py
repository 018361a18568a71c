"""A parameter that is a secret is hidden from the first line on: in digests, storage, approvals, outputs and logs."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from superagent.core.grants import Grant
from superagent.core.invocation import Call, Invocation, Outcome, Status, digest_of
from superagent.core.operation import compile_operation
from superagent.core.principal import Secret
from superagent.core.problems import Denied
from superagent.core.redactor import present
from superagent.core.secret_inputs import BLANK, LONGEST_SECRET
from superagent.core.veil import put_away, taken_out
from superagent.features.approvals import operations as approvals
from superagent.memory import MemoryVeil
from superagent.runtime.log import JsonLines
from superagent.sdk import Conflict, Context, Effect, Input, Kept, Nothing, Output, Plugin, Preview, Risk, SecretText
from superagent.testing import World, agent, allow_all, person

VALUE = "hunter22-and-more"
ADA, BOB, EVE = person("ada"), person("bob"), person("eve")
BUILDER = agent("builder", of=ADA)
LOG = logging.getLogger("tests.safe")


class Said(Output):
    text: str


safe = Plugin("safe")
got: list[tuple[Secret, Secret | None]] = []


async def _undo(ctx: Context, kept: Kept) -> None: ...


@safe.operation(risk=Risk.LOW, effect=Effect.CHANGE, undo=_undo)
async def keep(ctx: Context, name: str, value: SecretText, other_: SecretText | None = None) -> Said:
    """Keep a secret, and say it wherever something can be said."""
    got.append((value, other_))
    await ctx.emit({"kind": "log", "line": f"keeping {value.reveal()}"})
    LOG.warning("keeping %s", value.reveal())
    await ctx.thread(LOG.warning, "in a thread: %s", value.reveal())
    return Said(text=f"kept {value.reveal()} as {name}")


@keep.preview
async def _(ctx: Context, name: str, value: SecretText, other_: SecretText | None = None) -> Preview:
    return Preview(summary=f"would keep {value.reveal()}")


@safe.operation(risk=Risk.LOW, effect=Effect.READ)
async def fail(ctx: Context, value: SecretText, how: str) -> Nothing:
    """Fail with the secret in what is said."""
    if how == "problem":
        raise Conflict(f"it is {value.reveal()}", hint=f"try {value.reveal()}")
    raise RuntimeError(f"it is {value.reveal()[:9]}…")


@safe.operation(risk=Risk.LOW, effect=Effect.READ)
async def hand(ctx: Context, value: SecretText) -> Said:
    """Hand a secret on to other operations: hidden, and in clear."""
    await ctx.call("safe.keep", {"name": "n", "value": value})
    return Said(text=(await ctx.call("safe.echo", {"text": value.reveal()}))["text"])


@safe.operation(risk=Risk.LOW, effect=Effect.READ)
async def echo(ctx: Context, text: str) -> Said:
    """Say a text, which is no secret to this operation."""
    return Said(text=text)


@safe.operation(risk=Risk.LOW, effect=Effect.READ)
async def tell(ctx: Context, value: SecretText) -> Said:
    """Say a secret in a way that makes a large result."""
    return Said(text=f"{value.reveal()} " * 100)


def world(*grants: Grant) -> World:
    got.clear()
    here = World(safe, grants=grants or allow_all())
    desk = approvals.plugin(here.kernel.approvals, here.work)
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *desk.compile()])
    return here


@pytest.fixture
def log() -> Generator[io.StringIO]:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonLines())
    LOG.addHandler(handler)
    yield text
    LOG.removeHandler(handler)


def kept_by(here: World) -> str:
    """Give all that an installation keeps of its calls, as text."""
    stored = [msgspec.to_builtins(one) for one in here.audit.records]
    return json.dumps(stored) + repr(vars(here.work)) + repr(here.faults) + repr(here.undo.entries)


def reveal(pair: tuple[Secret, Secret | None]) -> tuple[str, str | None]:
    return pair[0].reveal(), pair[1].reveal() if pair[1] else None


async def ended(here: World, id: str) -> Outcome:
    async with asyncio.timeout(5):
        while (outcome := await here.work.outcome("default", id)) is None:
            await asyncio.sleep(0)
    return outcome


# ---- what the operation gets, and what everybody else does


async def test_an_operation_gets_the_value_and_nothing_tells_it(log: io.StringIO) -> None:
    here = world()

    outcome = await here.run("safe.keep", {"name": "n", "value": VALUE, "other": "4815162342"})

    assert reveal(got[0]) == (VALUE, "4815162342")
    assert outcome.result() == {"text": "kept [secret value] as n"}
    assert VALUE not in kept_by(here) + log.getvalue() + repr(outcome)
    assert [json.loads(line)["message"] for line in log.getvalue().splitlines()] == [
        "keeping [secret value]", "in a thread: [secret value]",
    ]  # fmt: skip
    events = await here.work.events("default", outcome.invocation, 0)
    assert json.loads(events[0][1]) == {"kind": "log", "line": "keeping [secret value]"}
    assert present.get() is None


async def test_a_preview_tells_it_neither() -> None:
    outcome = await world().run("safe.keep", {"name": "n", "value": VALUE}, dry_run=True)
    assert outcome.result()["summary"] == "would keep [secret value]"


async def test_a_large_result_is_stored_without_it() -> None:
    here = world()
    outcome = await here.run("safe.tell", {"value": VALUE}, max_bytes=100)
    data, _ = await here.blobs.read(ADA, outcome.handle)
    assert json.loads(data) == {"text": "[secret value] " * 100}


async def test_a_problem_tells_it_neither() -> None:
    here = world()
    outcome = await here.run("safe.fail", {"value": VALUE, "how": "problem"})
    assert outcome.problem is not None
    assert (outcome.problem.detail, outcome.problem.hint) == ("it is [secret value]", "try [secret value]")
    assert VALUE not in kept_by(here)


async def test_a_bug_is_logged_by_its_place_and_not_by_what_it_says() -> None:
    here = world()
    outcome = await here.run("safe.fail", {"value": VALUE, "how": "bug"})
    assert outcome.problem is not None
    assert outcome.problem.slug == "internal"
    (fault,) = here.faults
    assert str(fault) == "RuntimeError: what it says is left out, because the call held secrets"
    assert fault.__traceback__ is not None


async def test_what_an_operation_hands_on_is_not_told_by_the_other(log: io.StringIO) -> None:
    here = world()
    outcome = await here.run("safe.hand", {"value": VALUE})
    assert outcome.result() == {"text": "[secret value]"}
    assert reveal(got[0]) == (VALUE, None)
    assert VALUE not in kept_by(here) + log.getvalue()


async def test_the_next_call_of_a_batch_does_not_know_the_secret_of_the_one_before() -> None:
    here = world()
    calls = [Call("safe.tell", {"value": VALUE}), Call("safe.echo", {"text": VALUE})]
    first, second = await here.kernel.batch(calls, "sequential", True, ADA, "batch")
    assert VALUE not in repr(first.result())
    assert second.result() == {"text": VALUE}


async def test_too_many_secrets_for_one_call_are_a_problem_and_not_an_accident(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("superagent.core.redactor.MOST_VALUES", 0)
    outcome = await world().run("safe.tell", {"value": VALUE})
    assert outcome.problem is not None
    assert outcome.problem.slug == "too-large"
    assert outcome.status is Status.FAILED


# ---- digests


async def digests(here: World, *inputs: tuple[Any, dict[str, Any]]) -> list[str]:
    for by, given in inputs:
        await here.run("safe.tell", given, by=by)
    return [one.input_digest for one in here.audit.records if one.operation == "safe.tell" and one.kind == "outcome"]


async def test_the_digest_in_the_record_cannot_be_guessed_and_tells_nobody_who_gave_the_same() -> None:
    pin = {"value": "481516"}
    mine, again, other, eves = await digests(world(), (ADA, pin), (ADA, pin), (ADA, {"value": "481517"}), (EVE, pin))
    assert mine == again
    assert len({mine, other, eves, digest_of(pin)}) == 4


@pytest.mark.parametrize(
    "given", [{"value": 481516}, {"valeu": "481516"}, {"value": ""}, {"value": "x", "more": "481516"}]
)
async def test_a_call_that_does_not_parse_is_refused_and_recorded_without_any_digest(given: dict[str, Any]) -> None:
    here = world()
    outcome = await here.run("safe.tell", given)
    assert outcome.problem is not None
    assert outcome.problem.slug == "invalid-input"
    (record,) = here.audit.records
    assert (record.kind, record.input_digest) == ("refused", "")
    assert "481516" not in json.dumps(outcome.problem.document()) + kept_by(here)


async def test_a_value_over_the_limit_is_refused() -> None:
    outcome = await world().run("safe.tell", {"value": "x" * (LONGEST_SECRET + 1)})
    assert outcome.problem is not None
    assert outcome.problem.errors[0].path == "$.value"


async def test_the_same_key_and_value_give_the_first_outcome_and_another_value_is_a_mismatch() -> None:
    here = world()
    first = await here.run("safe.keep", {"name": "n", "value": VALUE}, key="k")
    again = await here.run("safe.keep", {"name": "n", "value": VALUE}, key="k")
    other = await here.run("safe.keep", {"name": "n", "value": "another"}, key="k")
    assert again.invocation == first.invocation
    assert VALUE not in repr(again)
    assert other.problem is not None
    assert other.problem.slug == "idempotency-mismatch"
    assert len(got) == 1


# ---- waiting


def asking() -> list[Grant]:
    ask = Grant(id="ask", effect="ask", subject="agent:builder", operations=["safe.*"])
    return [ask, Grant(id="people", effect="allow", subject="user:bob", operations=["*"]),
            Grant(id="ada", effect="allow", subject="user:ada", operations=["*"]),
            Grant(id="own", effect="allow", subject="agent:builder", operations=["approvals.list"])]  # fmt: skip


async def test_a_call_that_waits_shows_nobody_the_value_and_has_it_once_approved() -> None:
    here = world(*asking())
    async with here.kernel.serving():
        waiting = await here.run("safe.keep", {"name": "n", "value": VALUE}, by=BUILDER)
        shown = [(await here.run("approvals.list", {}, by=one)).result()["waiting"][0] for one in (BOB, BUILDER)]
        assert got == []
        assert [one["input"] for one in shown] == [{"name": "n", "value": BLANK}] * 2
        assert shown[0]["preview"]["summary"] == "would keep [secret value]"
        assert VALUE not in kept_by(here) + json.dumps(shown)
        await here.run("approvals.decide", {"id": waiting.invocation, "decision": "approve"}, by=BOB)
        done = await ended(here, waiting.invocation)
    assert done.status is Status.DONE
    assert reveal(got[0]) == (VALUE, None)
    assert VALUE not in kept_by(here)


async def test_a_call_that_waits_for_its_turn_is_stored_without_the_value_and_has_it_then() -> None:
    here = world()
    async with here.kernel.serving():
        queued = await here.run("safe.keep", {"name": "n", "value": VALUE}, queued=True)
        held = await here.work.get("default", queued.invocation)
        assert held is not None
        assert held.invocation.call.input == {"name": "n", "value": BLANK}
        assert VALUE not in kept_by(here)
        done = await ended(here, queued.invocation)
    assert done.status is Status.DONE
    assert reveal(got[0]) == (VALUE, None)


async def test_a_sealed_value_of_another_call_is_refused() -> None:
    here = world()
    async with here.kernel.serving():
        queued = await here.run("safe.keep", {"name": "n", "value": VALUE}, queued=True)
        held = await here.work.get("default", queued.invocation)
        assert held is not None
        await ended(here, queued.invocation)
    stolen = msgspec.structs.replace(held.invocation, id="0" * 26)
    with pytest.raises(Denied, match="belongs elsewhere"):
        taken_out(stolen, held.sealed, here.kernel.hands.veil)


def test_a_call_without_secrets_is_put_away_as_it_is() -> None:
    invocation = Invocation("1", Call("safe.echo", {"text": "x"}), ADA, "test", 0.0)
    veil = MemoryVeil()
    assert put_away(invocation, veil) == (invocation, {})
    assert taken_out(invocation, {}, veil) is invocation


# ---- policy and schema


@pytest.mark.parametrize("effect", ["allow", "deny"])
async def test_a_grant_cannot_be_used_to_guess_a_value(effect: str) -> None:
    guess = {"effect": effect, "subject": "*", "operations": ["safe.tell"], "where": {"args": {"value": "hunter*"}}}
    here = world(Grant.model_validate({"id": "guess", **guess}), *([] if effect == "allow" else allow_all()))

    problems = [(await here.run("safe.tell", {"value": one})).problem for one in (VALUE, "something else")]

    assert [one and one.slug for one in problems] == ["denied", "denied"]


def test_its_schema_says_that_it_is_written_and_never_read() -> None:
    operation = compile_operation(keep)
    assert operation.input_schema["properties"]["value"] == {
        "type": "string", "format": "password", "writeOnly": True, "minLength": 1, "maxLength": LONGEST_SECRET,
        "title": "Value",
    }  # fmt: skip
    assert operation.secrets == (("value", "value"), ("other_", "other"))
    assert operation.holds_secrets
    assert not compile_operation(echo).holds_secrets


class Login(Input):
    user: str
    password: SecretText


class Deeper(Input):
    logins: list[Login]
    again: Deeper | None = None


async def in_a_list(ctx: Context, values: list[SecretText]) -> Nothing:
    """Take secrets in a list."""
    return Nothing()


async def in_an_object(ctx: Context, login: Login | None = None) -> Nothing:
    """Take a secret in an object."""
    return Nothing()


async def further_in(ctx: Context, deeper: Deeper) -> Nothing:
    """Take a secret in an object of an object."""
    return Nothing()


async def nothing_secret(ctx: Context, deeper: dict[str, list[int]] | None = None) -> Nothing:
    """Take nothing secret."""
    return Nothing()


@pytest.mark.parametrize("function", [in_a_list, in_an_object, further_in])
def test_a_secret_inside_of_something_else_is_refused_when_the_operation_is_loaded(function: Any) -> None:
    plugin = Plugin("bad")
    plugin.operation(risk=Risk.LOW, effect=Effect.READ)(function)
    with pytest.raises(TypeError, match="a parameter of its own"):
        plugin.compile()


async def at_once(ctx: Context, value: SecretText) -> Nothing:
    """Take a secret and promise to take no time."""
    return Nothing()


def test_what_holds_secrets_is_never_inline() -> None:
    """Inline operations may run outside of a task of their own, where one call's redactor could meet another call."""
    for reaches, function in (((), at_once), (("secret",), nothing_secret)):
        plugin = Plugin("bad", reaches=reaches)
        plugin.operation(risk=Risk.LOW, effect=Effect.READ, inline=True)(function)
        with pytest.raises(TypeError, match="inline"):
            plugin.compile()


def test_other_structures_are_fine() -> None:
    plugin = Plugin("good")
    plugin.operation(risk=Risk.LOW, effect=Effect.READ)(nothing_secret)
    assert not plugin.compile()[0].holds_secrets


def test_a_secret_is_neither_printed_nor_copied_nor_serialised() -> None:
    secret = Secret(VALUE)
    assert VALUE not in f"{secret} {secret!r} {[secret]}"
    for escape in (pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode, json.dumps):
        with pytest.raises(TypeError):
            escape(secret)


def test_a_model_with_a_secret_dumps_a_blank() -> None:
    model = compile_operation(keep).shape.model.model_validate({"name": "n", "value": VALUE})
    assert json.loads(model.model_dump_json())["value"] == BLANK
    assert VALUE not in repr(model)
