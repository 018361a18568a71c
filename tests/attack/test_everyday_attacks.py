"""A share of the attacks, small enough for every day: one or more of each group, on what we ship."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.attack.case import Case
from tests.attack.catalogue import CASES, EVERYDAY
from tests.attack.trial import attempt, runner_for, show


@pytest.mark.parametrize("case", EVERYDAY, ids=[case.id for case in EVERYDAY])
async def test_the_attack_works_uncontained_and_is_held_contained(case: Case) -> None:
    runner = runner_for("backed-root" if os.geteuid() == 0 else "backed-ordinary")
    await show(case)
    verdict, _ = await attempt(runner, case)
    assert verdict.kind == "held", verdict.why


def test_there_are_enough_attacks_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= 60
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.group for case in EVERYDAY} >= {case.group for case in CASES} - {"memory", "cpu"}


def test_nothing_is_partial_where_root_sets_the_sandbox_up() -> None:
    assert not [case.id for case in CASES if {"native-root", "backed-root"} & case.partial.keys()]


def test_of_containers_only_the_disk_and_harmless_devices_are_not_held() -> None:
    for setting in ("docker-root", "podman-root"):
        assert {case.partial.get(setting) for case in CASES} == {None, "disk", "devices"}


def test_published_escapes_are_among_them() -> None:
    known = Counter(name for case in CASES if "CVE" in case.known_as for name in [case.known_as])
    assert len(known) >= 12
