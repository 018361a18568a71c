"""`superagent keys attenuate`: a weaker key of a key, with no server and no data folder in sight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from superagent.core.attenuation import take_apart
from superagent.runtime.api_keys import mint, public_half
from tests.surfaces.cli.command_line import Ran

Cli = Callable[..., Ran]
SAYS = ("--operation", "files.read", "--path", "/srv/**")


def test_it_prints_a_key_and_makes_no_data_folder(run_here: Cli, tmp_path: Path) -> None:
    key = mint()

    made = run_here("--data", str(tmp_path / "none"), "keys", "attenuate", "sub", *SAYS, "--json", key=key)

    assert made.code == 0, made.err
    shown = take_apart(made.document["key"])
    assert shown is not None
    assert shown.key == public_half(key).id
    assert not (tmp_path / "none").exists()
    again = run_here("keys", "attenuate", "deeper", *SAYS, key=made.document["key"])
    assert again.out.startswith("sab_")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sub",), "what the key is for"),
        (("sub", "--path", "/srv/**"), "--operation"),
        (("sub", *SAYS, "--expires", "30d"), "a week"),
        (("sub", *SAYS, "--expires", "0"), "a week"),
        (("Sub", *SAYS), "name"),
        (("sub", "--operation", "FILES"), "operation pattern"),
        (("sub", "--grant", "{"), "JSON"),
        (("sub", *SAYS, "--cidr", "here"), "cidr"),
    ],
)
def test_what_makes_no_sense_is_said(run_here: Cli, arguments: tuple[str, ...], said: str) -> None:
    ran = run_here("keys", "attenuate", *arguments, key=mint())
    assert ran.code == 2
    assert said in ran.err


def test_without_a_key_or_with_none_it_says_so(run_here: Cli) -> None:
    assert run_here("keys", "attenuate", "sub", *SAYS).code == 2
    assert "not a key" in run_here("keys", "attenuate", "sub", *SAYS, key="nonsense").err
