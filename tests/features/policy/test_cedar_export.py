"""`superagent policy export --cedar`: the same policy for analysis outside, checked by Cedar itself."""

from __future__ import annotations

from typing import Any

import cedarpy as untyped_cedarpy
import pytest

from tests.promise import promise
from tests.surfaces.http.house import House

cedarpy: Any = untyped_cedarpy  # its signatures name bare dicts
pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("1.1b")
async def test_cedar_takes_the_exported_policy_with_its_schema(house: House) -> None:
    told = await house.owner.done("policy.export", {"cedar": True})

    checked = cedarpy.validate_policies(told["text"], told["cedar_schema"])
    assert checked.validation_passed, checked.errors
    assert told["text"].count("@id(") == len(house.installation.kernel.hands.policies.of("default").grants) - len(
        [one for one in house.installation.kernel.hands.policies.of("default").grants if not spoken_of(house, one)]
    )
    assert '@id("role:owner:1")' in told["text"]
    assert all(f'action "{one.name}"' in told["cedar_schema"] for one in house.installation.kernel.registry)


def spoken_of(house: House, grant: Any) -> bool:
    policy = house.installation.kernel.hands.policies.of("default")
    return any(policy.speaks_of(grant, one) for one in house.installation.kernel.registry)
