"""Principals: who acts for whom, and what is not passed on."""

from __future__ import annotations

import pytest

from superagent.core.principal import ANONYMOUS, Facts, Principal, Secret


def ann(**more: object) -> Principal:
    fields = {
        "roles": ("owner",),
        "groups": ("ops",),
        "key": "k1",
        "workspace": "/ws/ann",
        "name": "Ann",
        "remote": "10.0.0.1",
    }
    return Principal("ann", "human", "default", **(fields | more))  # pyright: ignore[reportArgumentType]


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("hunter2-hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2-hunter2"


@pytest.mark.parametrize(
    ("facts", "here"),
    [
        (Facts(), True),
        (Facts(channel="cli"), True),
        (Facts(remote="127.0.0.1", channel="http"), True),
        (Facts(remote="::1", channel="http"), True),
        (Facts(remote="unix", channel="http"), True),
        (Facts(remote="10.0.0.1", channel="http"), False),
        (Facts(remote="127.0.0.1.evil.org", channel="http"), False),
        (Facts(channel="http"), False),
    ],
)
def test_only_this_machine_is_loopback(facts: Facts, here: bool) -> None:
    assert facts.loopback is here


def test_grants_can_address_a_principal_by_each_of_its_names() -> None:
    assert ann().subjects == {"*", "user:ann", "role:owner", "group:ops", "key:k1"}
    assert Principal("b", "agent", "default").subjects == {"*", "agent:b"}
    assert Principal("s", "service", "default").subjects == {"*", "service:s"}
    assert ANONYMOUS.subjects == {"anonymous:anonymous"}


def test_a_chain_runs_from_who_acts_to_the_person_behind() -> None:
    bot = ann().delegate("bot", "agent", ("agent",), "/ws/bot")
    sub = bot.delegate("sub", "agent")
    assert [hop.id for hop in sub.chain()] == ["sub", "bot", "ann"]
    assert sub.ids == ("sub", "bot", "ann")
    assert sub.human is not None
    assert sub.human.id == "ann"
    assert Principal("b", "agent", "default").human is None


def test_delegation_passes_on_tenant_and_address_and_no_role_key_group_or_proof() -> None:
    bot = ann(second_factor_at=5.0, trusted_local=True).delegate("bot", "agent")
    assert (bot.tenant, bot.remote, bot.workspace) == ("default", "10.0.0.1", "/ws/ann")
    assert (bot.roles, bot.groups, bot.key, bot.second_factor_at, bot.trusted_local) == ((), (), "", None, False)
    assert ann().delegate("bot", "agent", workspace="/ws/bot").workspace == "/ws/bot"


def test_nobody_acts_for_somebody_of_another_tenant() -> None:
    with pytest.raises(ValueError, match="another tenant"):
        Principal("bot", "agent", "elsewhere", on_behalf_of=ann())


def test_a_chain_comes_back_from_storage_as_it_was() -> None:
    bot = ann(second_factor_at=5.0, trusted_local=True).delegate("bot", "agent", ("agent",))
    back = Principal.from_stored(bot.stored())
    assert back.stored() == bot.stored()
    assert [hop.subjects for hop in back.chain()] == [hop.subjects for hop in bot.chain()]
    assert back.ids == bot.ids


def test_what_was_proved_does_not_outlive_the_moment() -> None:
    later = ann(second_factor_at=5.0, trusted_local=True).delegate("bot", "agent").without_proof()
    assert [(hop.id, hop.second_factor_at, hop.trusted_local) for hop in later.chain()] == [
        ("bot", None, False),
        ("ann", None, False),
    ]
    assert [hop.subjects for hop in later.chain()][1] == ann().subjects


def test_principals_are_told_apart_by_identity() -> None:
    assert ann() != ann()
    assert len({ann(), ann()}) == 2
