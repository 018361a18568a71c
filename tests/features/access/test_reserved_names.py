"""Names that mean something to the platform: nobody is called so, by any door that gives names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superagent.features.sign_in.enrolling import ME
from superagent.runtime.holders import EVERYTHING
from superagent.runtime.names import RESERVED, check_name
from superagent.runtime.oauth.tables import COMMAND_LINE
from superagent.runtime.policies import EVERYBODY, STRANGERS, SYSTEM
from superagent.runtime.policy_versions import PLATFORM
from superagent.runtime.sign_in.recognising import WEB
from tests.features.access.test_serving_oneself import cast
from tests.promise import promise

DOORS: list[tuple[str, dict[str, Any], str]] = [
    ("access.users.create", {}, "id"),
    ("access.agents.create", {}, "id"),
    ("access.agents.create", {"kind": "service", "role": None}, "id"),
    ("access.groups.create", {}, "id"),
    ("access.roles.create", {"grants": []}, "id"),
    ("access.tenants.create", {}, "id"),
    ("access.tenants.create", {"id": "fine"}, "owner"),
    ("access.keys.create", {}, "name"),
]


def test_the_list_holds_every_name_that_the_code_treats_as_something_else() -> None:
    assert {ME, EVERYTHING, EVERYBODY, STRANGERS, SYSTEM, PLATFORM, COMMAND_LINE, WEB} <= RESERVED


@pytest.mark.parametrize("name", ["owner", "mel", "systems", "client", "clients_of_ours"])
def test_names_that_only_look_alike_are_names(name: str) -> None:
    check_name(name)


@promise("11.12c")
async def test_no_door_gives_a_name_that_means_something_else(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        for operation, rest, field in DOORS:
            for name in ("me", "system", "anonymous", "everything", "superagent-cli", "client_01abc"):
                refused = await here.run(owner, operation, rest | {field: name})
                await here.refused(owner, refused, "means something to the platform", "invalid-input")
        agent = await here.who((await here.done(owner, "access.keys.create", {"name": "builder"}))["key"])
        refused = await here.run(agent, "access.delegate", {"name": "everything"})
        await here.refused(agent, refused, "means something to the platform", "invalid-input")
