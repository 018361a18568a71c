"""Every attack in every setting: held, or said not to be held."""

from __future__ import annotations

import pytest

from tests.attack import seen
from tests.attack.case import Case
from tests.attack.catalogue import CASES
from tests.attack.trial import SETTINGS, attempt, runner_for, show, shown_by_root_alone, tried

pytestmark = pytest.mark.attack

each_case = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


@each_case
async def test_the_attack_works_where_nothing_holds_it(case: Case) -> None:
    await show(case)


@pytest.mark.parametrize("setting", SETTINGS)
@each_case
async def test_the_attack_is_held_or_said_not_to_be(case: Case, setting: str) -> None:
    tried(case, setting)
    runner = runner_for(setting)
    if not shown_by_root_alone(case):  # else the run as root shows it
        await show(case)
    verdict, ended = await attempt(runner, case)
    assert verdict.kind != "void", verdict.why
    limit = ""
    if verdict.kind == "escaped":
        limit = case.not_held(setting)
        assert limit, verdict.why
        assert ended is not None
        assert ended.limits[limit] in ("partial", "none"), f"{limit} is claimed, but {verdict.why}"
    seen.note(setting, case.id, limit)
