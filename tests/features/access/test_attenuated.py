"""Attenuated keys: made without the server, weaker at each step, dead with their root, and not to be forged."""

from __future__ import annotations

import base64
import json
import time
from importlib import import_module
from typing import Any

import pytest

from superagent.core.attenuation import Caveat, put_together, take_apart
from superagent.core.grants import Grant
from superagent.core.problems import InvalidInput
from superagent.runtime.api_keys import mint, private_half, public_half
from superagent.runtime.attenuating import attenuate
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
biscuits: Any = import_module("biscuit_auth")
READS = Grant(effect="allow", operations=["files.read", "files.list"])


def caveat(name: str = "sub", *grants: Grant, ttl_s: float = 600, **more: Any) -> Caveat:
    return Caveat(name=name, grants=list(grants) or [READS], expires_at=time.time() + ttl_s, **more)


async def writer(house: House) -> Caller:
    bot = await house.agent()
    await bot.done("files.write", {"path": "note", "content": "x"})
    return bot


@promise("1.1c")
async def test_a_sub_agent_gets_a_weaker_key_without_the_server(house: House) -> None:
    bot = await writer(house)

    sub = house.caller("sub", attenuate(bot.key, caveat()))

    me = await sub.done("access.whoami")
    assert (me["id"], me["on_behalf_of"]) == (f"{bot.name}/sub", [bot.name, "owner"])
    assert me["within"] == [{"effect": "allow", "operations": ["files.read", "files.list"]}]
    assert (await sub.done("files.read", {"path": "note"}))["content"] == "x"
    refused = await sub.call("files.write", {"path": "note", "content": "y"})
    assert (await house.refusal(refused))["operation"] == "files.write"
    assert refused.status_code == 404


async def test_each_step_only_narrows(house: House) -> None:
    bot = await writer(house)
    first = attenuate(bot.key, caveat("one"))

    wide = house.caller("x", attenuate(first, caveat("two", Grant(effect="allow", operations=["*"]))))

    assert (await wide.done("access.whoami"))["on_behalf_of"] == [f"{bot.name}/one", bot.name, "owner"]
    await wide.done("files.read", {"path": "note"})
    assert (await wide.call("files.write", {"path": "note", "content": "y"})).status_code == 404


async def test_a_chain_has_an_end_and_so_has_its_life(house: House) -> None:
    bot = await writer(house)
    deep = attenuate(attenuate(attenuate(bot.key, caveat("a")), caveat("b")), caveat("c"))
    with pytest.raises(InvalidInput, match="at most"):
        attenuate(deep, caveat("d"))
    for token in (deep, attenuate(bot.key, caveat(ttl_s=-1)), attenuate(bot.key, caveat(ttl_s=8 * 86_400))):
        problem_of(await house.caller("x", token).call("access.whoami"), 401, "unauthenticated")


async def test_it_is_good_from_its_networks_only(house: House) -> None:
    bot = await writer(house)
    away = house.caller("x", attenuate(bot.key, caveat(cidr=["10.9.0.0/16"])))
    problem_of(await away.call("access.whoami"), 401, "unauthenticated")


async def test_it_dies_with_its_root_and_can_be_ended_alone(house: House) -> None:
    bot = await writer(house)
    one, two = (house.caller("x", attenuate(bot.key, caveat(name))) for name in ("one", "two"))
    deeper = house.caller("x", attenuate(one.key, caveat("deep")))
    id = (await one.done("access.whoami"))["key"]
    await deeper.done("access.whoami")

    await house.owner.done("access.keys.revoke", {"id": id})

    problem_of(await one.call("access.whoami"), 401, "unauthenticated")
    problem_of(await deeper.call("access.whoami"), 401, "unauthenticated")
    await two.done("access.whoami")
    await bot.done("access.whoami")
    await house.owner.done("access.keys.revoke", {"id": (await bot.done("access.whoami"))["key"]})
    problem_of(await two.call("access.whoami"), 401, "unauthenticated")


async def test_who_gets_a_persons_key_lent_is_no_person(house: House) -> None:
    everything = Grant(effect="allow", operations=["*"])
    lent = house.caller("x", attenuate(house.owner.key, caveat("helper", everything)))

    me = await lent.done("access.whoami")

    assert (me["id"], me["kind"]) == ("owner/helper", "agent")
    tried: list[tuple[str, dict[str, Any]]] = [
        ("access.keys.create", {"name": "mole"}), ("approvals.decide", {"id": "x", "decision": "approve"}),
        ("access.users.set_roles", {"id": "owner", "roles": []}),
        ("settings.set", {"name": "log.level", "value": "debug"}),
        ("access.tenants.create", {"id": "mole"}),
    ]  # fmt: skip
    for operation, input in tried:
        assert (await lent.call(operation, input)).status_code in (403, 404), operation


async def test_an_attenuated_key_is_not_lent_on_by_the_server(house: House) -> None:
    bot = await writer(house)
    sub = house.caller("x", attenuate(bot.key, caveat("sub", Grant(effect="allow", operations=["access.delegate"]))))
    assert "attenuate" in problem_of(await sub.call("access.delegate", {"name": "y"}), 403, "denied")["hint"]


def forged(bot: str) -> dict[str, str]:
    """Give tokens that look right and are not."""
    good = attenuate(bot, caveat())
    shown = take_apart(good)
    assert shown is not None
    ed25519 = biscuits.Algorithm.Ed25519
    other = biscuits.PrivateKey.from_bytes(private_half(mint()), ed25519)
    own = biscuits.PrivateKey.from_bytes(private_half(bot), ed25519)
    text = base64.urlsafe_b64encode(caveat().model_dump_json().encode()).decode().rstrip("=")
    fact = f'caveat("{text}")'

    def made(code: str, by: Any = own) -> str:
        return put_together(shown.public, biscuits.BiscuitBuilder(code).build(by).to_base64())

    def said(**document: Any) -> str:
        told = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
        return f'caveat("{told}")'

    grant = {"effect": "allow", "operations": ["*"]}
    soon = time.time() + 60
    return {
        "signed by another": made(fact, other),
        "no caveat at all": made('other("x")'),
        "a caveat and a rule": made(fact + '; allowed("x") <- caveat($x)'),
        "two caveats in a block": made(fact + f"; {said(name='b', grants=[grant], expires_at=soon)}"),
        "a check": made("check if true"),
        "no grants": made(said(name="x", grants=[], expires_at=soon)),
        "no end": made(said(name="x", grants=[grant])),
        "for ever": made(said(name="x", grants=[grant], expires_at=float("inf"))),
        "an end that never comes": made(said(name="x", grants=[grant], expires_at=float("nan"))),
        "nobody's name": made(said(name="../owner", grants=[grant], expires_at=soon)),
        "a field too many": made(said(name="x", grants=[grant], expires_at=soon, tenant="system")),
        "cut": good[:-8],
        "turned": good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:],
        "another root": put_together(bytes.fromhex(public_half(mint()).public), shown.chain),
        "nothing": put_together(shown.public, "AAAA"),
        "long": good + "A" * 5000,
    }


@promise("1.1c")
async def test_forged_ones_are_refused_with_the_same_words(house: House) -> None:
    bot = await writer(house)
    for how, token in forged(bot.key).items():
        response = await house.caller("x", token).call("access.whoami")
        problem = problem_of(response, 401, "unauthenticated")
        assert problem["detail"] in ("this key is not known, or no longer valid", "this is not a key"), how


async def test_a_block_by_a_third_party_is_refused(house: House) -> None:
    bot = await writer(house)
    shown = take_apart(attenuate(bot.key, caveat()))
    assert shown is not None
    ed25519 = biscuits.Algorithm.Ed25519
    chain = biscuits.Biscuit.from_base64(shown.chain, biscuits.PublicKey.from_bytes(shown.public, ed25519))
    third = biscuits.PrivateKey.from_bytes(private_half(mint()), ed25519)
    text = base64.urlsafe_b64encode(caveat("b").model_dump_json().encode()).decode().rstrip("=")
    block = chain.third_party_request().create_block(third, biscuits.BlockBuilder(f'caveat("{text}")'))
    public = biscuits.KeyPair.from_private_key(third).public_key
    token = put_together(shown.public, chain.append_third_party(public, block).to_base64())

    problem_of(await house.caller("x", token).call("access.whoami"), 401, "unauthenticated")


async def test_no_number_of_lent_keys_makes_a_budget_forgotten(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of keys is bounded, and who lends can show any number of them."""
    monkeypatch.setattr("superagent.runtime.identity.MOST_CACHED", 7)
    monkeypatch.setattr("superagent.runtime.budgets.MOST", 8, raising=False)  # where there were two bounds
    bot = await house.agent(limits={"budget": {"calls": 1, "per_s": 3600}})
    free = await house.agent()
    await bot.done("access.whoami")
    for number in range(20):
        await house.caller("y", attenuate(free.key, caveat(f"sub{number}"))).done("access.whoami")
        lent = house.caller("x", attenuate(bot.key, caveat(f"sub{number}")))
        for who in (lent, bot):
            problem_of(await who.call("access.whoami"), 429, "budget-exceeded")


async def test_its_calls_count_against_the_budget_of_its_root(house: House) -> None:
    bot = await house.agent(limits={"budget": {"calls": 3, "per_s": 3600}})
    sub = house.caller("x", attenuate(bot.key, caveat()))
    await sub.done("access.whoami")
    await bot.done("access.whoami")
    assert (await sub.done("access.whoami"))["budgets"][0]["used"] == 3.0
    problem_of(await bot.call("access.whoami"), 429, "budget-exceeded")
    problem_of(await sub.call("access.whoami"), 429, "budget-exceeded")


async def test_what_the_database_holds_makes_no_key(house: House) -> None:
    bot = await writer(house)
    (row,) = [one for one in (await house.owner.done("access.keys.list"))["keys"] if one["name"] == bot.name]
    public = bytes.fromhex(public_half(bot.key).public)  # all that a stolen database says of a key
    seeds = (public, private_half(row["id"]), private_half(public.hex()))
    for seed in seeds:
        private = biscuits.PrivateKey.from_bytes(seed, biscuits.Algorithm.Ed25519)
        text = base64.urlsafe_b64encode(caveat().model_dump_json().encode()).decode().rstrip("=")
        chain = biscuits.BiscuitBuilder(f'caveat("{text}")').build(private).to_base64()
        problem_of(await house.caller("x", put_together(public, chain)).call("access.whoami"), 401, "unauthenticated")
    problem_of(await house.caller("x", public.hex()).call("access.whoami"), 401, "unauthenticated")
