"""`superagent policy …`: explaining and exporting from the command line."""

from __future__ import annotations

from typing import Any

import cedarpy as untyped_cedarpy
import pytest

from tests.promise import promise
from tests.surfaces.cli.conftest import Cli

cedarpy: Any = untyped_cedarpy  # its signatures name bare dicts


@promise("1.1b")
@pytest.mark.slow
def test_the_policy_is_exported_for_cedar(cli: Cli) -> None:
    ran = cli("policy", "export", "--cedar", "--json")
    assert ran.code == 0
    output = ran.document["output"]
    checked = cedarpy.validate_policies(output["text"], output["cedar_schema"])
    assert checked.validation_passed, checked.errors
    shown = cli("policy", "export", "--cedar")
    assert 'permit (principal in Subject::"role:owner"' in shown.out


def test_a_call_is_explained_in_words(cli: Cli) -> None:
    ran = cli("policy", "explain", "files.read", "--input", '{"path": "/srv/a"}', "--json")
    assert ran.code == 0, ran.out
