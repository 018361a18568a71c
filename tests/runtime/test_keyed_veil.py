"""Marks and seals of secret inputs are made with the installation's keys, and tell nothing without them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from superagent.core.principal import Secret
from superagent.core.problems import Denied
from superagent.runtime.keyed_veil import KeyedVeil
from superagent.runtime.keys import FileKeys

ABOUT = ("default", "ada", "secrets.put", "value")
PIN = Secret("4815")


@pytest.fixture
def veil(tmp_path: Path) -> KeyedVeil:
    return KeyedVeil(FileKeys(tmp_path / "keys"))


def test_equal_values_have_equal_marks_in_one_place_and_installation_only(veil: KeyedVeil, tmp_path: Path) -> None:
    mark = veil.mark(ABOUT, PIN)
    assert mark == veil.mark(ABOUT, Secret("4815"))
    assert mark == KeyedVeil(FileKeys(tmp_path / "keys")).mark(ABOUT, PIN)  # after a restart
    others = [veil.mark((*ABOUT[:1], "eve", *ABOUT[2:]), PIN), veil.mark(("defaultada", "", *ABOUT[2:]), PIN)]
    others += [veil.mark(ABOUT, Secret("4816")), KeyedVeil(FileKeys(tmp_path / "others")).mark(ABOUT, PIN)]
    assert len({mark, *others}) == 5


def test_trying_every_value_does_not_find_the_one_behind_a_mark(veil: KeyedVeil) -> None:
    mark = veil.mark(ABOUT, PIN)
    for pin in range(10_000):
        assert hashlib.sha256(f"{pin:04}".encode()).hexdigest() not in mark


@pytest.mark.parametrize("value", ["4815", "päss\udcffwörd", "x" * 40_000])
def test_a_sealed_value_opens_where_it_belongs_and_nowhere_else(veil: KeyedVeil, tmp_path: Path, value: str) -> None:
    sealed = veil.seal(ABOUT, Secret(value))
    assert value.encode("utf-8", "surrogatepass") not in sealed
    assert veil.open(ABOUT, sealed).reveal() == value
    stranger = KeyedVeil(FileKeys(tmp_path / "others"))
    for who, about, data in (
        (veil, ("other", *ABOUT[1:]), sealed),
        (stranger, ABOUT, sealed),
        (veil, ABOUT, sealed[:-1]),
    ):
        with pytest.raises(Denied):
            who.open(about, data)
