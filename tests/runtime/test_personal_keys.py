"""Detail about a person opens until that person is forgotten, and then never again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.problems import Unavailable
from superagent.runtime.personal_keys import PersonalKeys

KEY = bytes(range(32))


@pytest.fixture
def keys(tmp_path: Path) -> PersonalKeys:
    return PersonalKeys(tmp_path / "personal", KEY)


def test_sealed_detail_opens_and_shows_nothing_of_the_person(keys: PersonalKeys) -> None:
    sealed = keys.seal("default", "user:alice", "192.0.2.7 curl")
    assert keys.open(sealed) == "192.0.2.7 curl"
    assert "alice" not in sealed
    assert "192" not in sealed


def test_the_same_text_may_be_sealed_once(keys: PersonalKeys) -> None:
    assert keys.seal("default", "user:a", "x") == keys.seal("default", "user:a", "x")
    assert keys.seal("default", "user:a", "x") != keys.seal("default", "user:b", "x")


def test_after_the_erasure_nothing_opens_and_new_detail_has_a_new_key(keys: PersonalKeys) -> None:
    old, other = keys.seal("default", "user:a", "old"), keys.seal("default", "user:b", "other")
    assert keys.erase("default", "user:a")
    assert keys.open(old) is None
    assert keys.open(other) == "other"
    new = keys.seal("default", "user:a", "old")
    assert new != old
    assert (keys.open(new), keys.open(old)) == ("old", None)


def test_the_key_file_is_gone_after_the_erasure(keys: PersonalKeys, tmp_path: Path) -> None:
    keys.seal("default", "user:a", "x")
    (file,) = tmp_path.rglob("*.key")
    assert keys.erase("default", "user:a")
    assert not file.exists()
    assert not keys.erase("default", "user:a")


def test_an_erasure_reaches_processes_that_had_the_key_in_memory(tmp_path: Path) -> None:
    one, other = (PersonalKeys(tmp_path / "personal", KEY) for _ in range(2))
    old = one.seal("default", "user:a", "x")
    assert other.erase("default", "user:a")
    new = one.seal("default", "user:a", "x")
    assert new != old
    assert one.open(old) is None
    assert (one.open(new), other.open(new)) == ("x", "x")


def test_an_erasure_that_was_cut_short_is_an_erasure(keys: PersonalKeys, tmp_path: Path) -> None:
    old = keys.seal("default", "user:a", "x")
    (file,) = tmp_path.rglob("*.key")
    file.write_bytes(bytes(file.stat().st_size))  # overwritten, and then the machine stopped
    again = PersonalKeys(tmp_path / "personal", KEY)
    assert again.open(old) is None
    assert again.open(again.seal("default", "user:a", "y")) == "y"


def test_another_master_key_is_not_taken_for_an_erasure(keys: PersonalKeys, tmp_path: Path) -> None:
    sealed = keys.seal("default", "user:a", "x")
    (file,) = tmp_path.rglob("*.key")
    file.write_bytes(file.read_bytes()[:-1] + b"?")  # as it is for any other key: it cannot be unwrapped
    with pytest.raises(Unavailable, match="master key"):
        PersonalKeys(tmp_path / "personal", KEY).seal("default", "user:a", "x")
    with pytest.raises(Unavailable, match="master key"):
        keys.open(sealed)
    assert file.exists()


def test_tenant_and_subject_are_not_mixed_up(keys: PersonalKeys, tmp_path: Path) -> None:
    keys.seal("ab", "c", "x")
    keys.seal("a", "bc", "x")
    assert len(list(tmp_path.rglob("*.key"))) == 2
    assert not keys.erase("abc", "")


@given(st.text() | st.binary().map(bytes.hex))
def test_what_is_no_sealed_detail_opens_as_nothing(text: str) -> None:
    assert _any_keys().open(text) is None


@given(st.text(max_size=50))
def test_any_text_can_be_sealed(text: str) -> None:
    assert _any_keys().open(_any_keys().seal("default", "user:a", text)) == text


def test_text_that_is_not_utf_8_is_kept_readable(keys: PersonalKeys) -> None:
    assert keys.open(keys.seal("default", "user:\udcff", "a\udcff")) == "a\\udcff"


_made: list[PersonalKeys] = []


@pytest.fixture(autouse=True, scope="module")
def _one_for_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    _made.append(PersonalKeys(tmp_path_factory.mktemp("keys") / "personal", KEY))


def _any_keys() -> PersonalKeys:
    return _made[0]
