"""Limits and profiles only ever narrow, and an isolation says what held."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from superagent.core.containment import DEFAULT_PROFILE, PROFILES, Isolation, Limits, Profile, narrow
from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.invocation import Outcome, Status

numbers = st.integers(min_value=1, max_value=10**12)
limits = st.builds(Limits, **{one.name: numbers for one in fields(Limits)})
levels: st.SearchStrategy[IsolationLevel] = st.sampled_from(["none", "landlock", "native", "container", "vm"])
profiles = st.builds(
    Profile,
    st.just("some"),
    st.sampled_from(["none", "read", "write"]),
    st.sampled_from(["off", "listed", "host"]),
    st.frozensets(st.sampled_from(["a:1", "b:2", "c:3"])),
    st.booleans(),
    levels,
    limits,
)
FILES, NETWORK = ("none", "read", "write"), ("off", "listed", "host")


def test_the_five_profiles_are_there_and_the_default_has_no_network() -> None:
    assert set(PROFILES) == {"read-only", "workspace-write", "net-allowlist", "build", "danger-none"}
    default = PROFILES[DEFAULT_PROFILE]
    assert (default.workspace, default.network, default.cache) == ("write", "off", False)
    assert PROFILES["read-only"].workspace == "read"
    assert [one.name for one in PROFILES.values() if one.level == "none"] == ["danger-none"]


@given(profiles, st.lists(profiles, max_size=4))
def test_narrowing_never_gives_more_than_any_of_them(first: Profile, others: list[Profile]) -> None:
    result = narrow(first, *others)

    assert result.name == first.name
    for one in (first, *others):
        assert FILES.index(result.workspace) <= FILES.index(one.workspace)
        assert NETWORK.index(result.network) <= NETWORK.index(one.network)
        assert result.hosts <= one.hosts
        assert one.cache or not result.cache
        assert ISOLATION[result.level] >= ISOLATION[one.level]
        for name in (field.name for field in fields(Limits)):
            assert getattr(result.limits, name) <= getattr(one.limits, name)


@given(profiles, profiles)
def test_in_which_order_they_narrow_does_not_matter(one: Profile, other: Profile) -> None:
    assert narrow(one, other) == replace(narrow(other, one), name=one.name)


@given(limits)
def test_limits_are_written_down_as_numbers_by_name(some: Limits) -> None:
    assert Limits(**some.document()) == some  # pyright: ignore[reportArgumentType] - whole numbers stay whole


def test_an_outcome_shows_how_it_was_contained() -> None:
    isolation = Isolation("native", "bubblewrap", {"memory": "partial"}, "off", {"memory_bytes": 5})

    plain = Outcome("01A", "shell.exec", Status.DONE, b"{}", isolation=isolation).plain()

    assert plain["isolation"] == {
        "level": "native", "backend": "bubblewrap", "limits": {"memory": "partial"}, "network": "off",
    }  # fmt: skip
