"""Grants: what the language takes, and what it refuses because it would not mean what was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from superagent.core.grants import ISOLATION, Grant, IsolationLevel, week_spans


def made(**fields: Any) -> Grant:
    return Grant.model_validate({"effect": "allow", "operations": ["*"], **fields})


def refused(**fields: Any) -> str:
    with pytest.raises(ValidationError) as bad:
        made(**fields)
    return bad.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "pattern",
    [
        "/",
        "/srv",
        "/srv/**",
        "/**/x",
        "/a/**/b/**",
        "/srv/*.log",
        "{workspace}",
        "{workspace}/**",
        "{roots}",
        "{roots}/a b",
        "/x]{y}",
    ],
)
def test_a_path_pattern_is_taken_as_written(pattern: str) -> None:
    assert made(where={"paths": [pattern]}).where.paths == [pattern]


def test_a_path_pattern_may_have_sixty_four_parts() -> None:
    assert made(where={"paths": ["/a" * 64]}).where.paths == ["/a" * 64]
    refused(where={"paths": ["/a" * 65]})


def test_a_slash_at_the_end_of_a_path_pattern_means_nothing() -> None:
    assert made(where={"paths": ["/srv/", "/srv/**/", "{workspace}/"]}).where.paths == [
        "/srv",
        "/srv/**",
        "{workspace}",
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "", "srv", "srv/**", "./srv", "~/x", "/srv/../etc", "/srv/..", "/srv/./a", "/srv/.", "//srv", "/srv//a",
        "/srv//", "/a\0b",
        "/srv/?", "/srv/[ab]", "/srv/a**", "/srv/**.log", "/**/a/**/b/**", "{workspace}x/**", "{roots}2",
        "/{workspace}/a",
        "/a/{roots}", "{workspace}/{workspace}", "{other}/x", "/" + "a/" * 64, "/" + "a" * 1024,
    ],
)  # fmt: skip
def test_a_path_pattern_that_would_never_fit_or_be_misread_is_refused(pattern: str) -> None:
    refused(where={"paths": [pattern]})


def test_hosts_are_kept_in_their_one_spelling() -> None:
    written = ["API.Example.org.:0443", "*.Example.org", "[2001:DB8::0001]:*"]
    assert made(where={"hosts": written}).where.hosts == ["api.example.org:443", "*.example.org", "[2001:db8::1]"]
    refused(where={"hosts": ["::1"]})


@pytest.mark.parametrize("pattern", ["*", "files.read", "files.*", "access.keys.create", "access.keys.*"])
def test_an_operation_pattern_is_a_name_or_its_beginning(pattern: str) -> None:
    assert made(operations=[pattern]).operations == [pattern]


@pytest.mark.parametrize(
    "pattern", ["", "files*", "*.read", "files.*.x", ".files", "Files.read", "files.read\n", "files.*\n", "f.", "a b"]
)
def test_another_operation_pattern_is_refused(pattern: str) -> None:
    refused(operations=[pattern])


def test_a_grant_without_operations_is_refused() -> None:
    refused(operations=[])


def test_operations_are_named_by_whole_parts() -> None:
    keys = made(operations=["access.keys.*", "files.read"])
    asked = ("access.keys.create", "access.keysx.create", "access.keys", "files.read", "files.reader", "files")
    assert [name for name in asked if keys.names(name)] == ["access.keys.create", "files.read"]


@pytest.mark.parametrize(
    "subject", ["", "*", "role:owner", "group:ops", "user:ann", "agent:t/bot-1", "key:k", "anonymous:anonymous"]
)
def test_a_subject_is_everybody_or_somebody(subject: str) -> None:
    assert made(subject=subject).subject == subject


@pytest.mark.parametrize(
    "subject", ["owner", "role:", "role:a b", "role:*", "role:a:b", "user:ann\n", "tenant:x", "**", "user:" + "a" * 201]
)
def test_another_subject_is_refused(subject: str) -> None:
    refused(subject=subject)
    refused(effect="ask", require={"by": [subject]})


@pytest.mark.parametrize("hours", ["08:00-18:00", "00:00-24:00", "mon 08:00-18:00", "fri-mon 22:00-06:00"])
def test_hours_are_taken(hours: str) -> None:
    assert made(when={"hours": hours}).when.hours == hours


@pytest.mark.parametrize(
    "hours",
    [
        "8:00-18:00", "08:00", "24:00-06:00", "08:00-24:01", "08:60-09:00", "25:00-26:00", "08:00-08:00",
        "mon- 08:00-09:00",
        "xyz 08:00-09:00", "mon-xyz 08:00-09:00", "Mon 08:00-09:00", "mon,tue 08:00-09:00", "08:00-18:00\n",
        "08:00 - 18:00",
        "\u0660\u0668:00-18:00",
    ],
)  # fmt: skip
def test_hours_that_could_be_misread_are_refused(hours: str) -> None:
    refused(when={"hours": hours})


START = datetime(2026, 11, 23, tzinfo=UTC)  # a Monday
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@given(
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.integers(0, 7 * 1440 - 1),
)
def test_hours_hold_from_each_named_day_on(first: int, last: int, begin: int, end: int, minute: int) -> None:
    if begin == end:
        end = (end + 1) % 1440
    text = f"{DAYS[first]}-{DAYS[last]} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    at = START + timedelta(minutes=minute)

    def began_on(day: datetime) -> bool:
        named = (day.weekday() - first) % 7 <= (last - first) % 7
        until = day + timedelta(minutes=end) + (timedelta(days=1) if end <= begin else timedelta())
        return named and day + timedelta(minutes=begin) <= at < until

    today = at.replace(hour=0, minute=0)
    expected = began_on(today) or began_on(today - timedelta(days=1))
    assert any(begin <= minute < end for begin, end in week_spans(text)) == expected


def test_hours_of_one_day_and_of_every_day() -> None:
    assert week_spans("sun-mon 08:00-09:00") == ((6 * 1440 + 480, 6 * 1440 + 540), (480, 540))
    assert week_spans("tue 08:00-09:00") == ((1440 + 480, 1440 + 540),)
    assert len(week_spans("08:00-09:00")) == 7
    assert week_spans("sun 23:00-01:00") == ((6 * 1440 + 1380, 7 * 1440), (0, 60))
    assert week_spans("sun 23:00-24:00") == ((6 * 1440 + 1380, 7 * 1440),)


def test_networks_are_kept_in_their_one_spelling() -> None:
    assert made(when={"cidr": ["10.1.2.3/8", "192.0.2.7", "2001:DB8::/32"]}).when.cidr == [
        "10.0.0.0/8",
        "192.0.2.7/32",
        "2001:db8::/32",
    ]


@pytest.mark.parametrize(
    "network", ["", "10.0.0.0/33", "10.0.0", "example.org", "::ffff:10.0.0.0/104", "010.0.0.1", 10]
)
def test_a_network_that_could_be_misread_is_refused(network: object) -> None:
    refused(when={"cidr": [network]})


@pytest.mark.parametrize(
    "args",
    [{"a": "x"}, {"a": 1}, {"a": 1.5}, {"a": True}, {"a": None}, {"a": ["x", 1, None]}],
)
def test_arguments_compare_with_plain_values(args: dict[str, Any]) -> None:
    where = made(where={"args": args}).where
    assert where.args == args
    assert [type(one) for one in where.args.values()] == [type(one) for one in args.values()]


@pytest.mark.parametrize(
    "value", [[], {}, {"x": 1}, [["x"]], float("nan"), float("inf"), object(), ["x"] * 1001, "x" * 4097]
)
def test_arguments_compare_with_nothing_else(value: object) -> None:
    refused(where={"args": {"a": value}})


@pytest.mark.parametrize("age", [0, -1, 1.5, "60", True])
def test_the_age_of_a_second_factor_is_whole_seconds_above_none(age: object) -> None:
    refused(when={"mfa_max_age_s": age})


@pytest.mark.parametrize("approvals", [0, 11, -1, 1.0, True])
def test_one_to_ten_people_can_be_required(approvals: object) -> None:
    refused(effect="ask", require={"approvals": approvals})


def test_an_allow_cannot_require_approval() -> None:
    assert "use the effect `ask`" in refused(effect="allow", require={"approvals": 1})


def test_an_ask_requires_one_approval_unless_it_says_more() -> None:
    assert made(effect="ask").approvals == 1
    assert made(effect="ask", require={"approvals": 3}).approvals == 3
    assert made(effect="deny").approvals == made().approvals == 0
    assert made(effect="deny", require={}).approvals == 1


def test_who_may_approve_is_told() -> None:
    assert made(effect="ask", require={"by": ["role:a", "user:b"]}).approvers == {"role:a", "user:b"}
    assert made(effect="ask").approvers == frozenset()


@pytest.mark.parametrize("field", ["instance", "_instance", "unknown", "Effect"])
def test_no_input_can_add_a_field_or_reach_the_installation(field: str) -> None:
    refused(**{field: True})
    assert not made().instance


def test_only_code_makes_a_grant_of_the_installation_and_copies_nothing_else() -> None:
    plain = made(id="g")
    wide = plain.of_instance()
    assert wide.instance
    assert not plain.instance
    assert wide.model_dump() == plain.model_dump()
    assert not Grant.model_validate(wide.model_dump()).instance


def test_a_grant_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        made().effect = "deny"


@pytest.mark.parametrize("field", ["effects", "origin"])
def test_closed_sets_take_their_words_only(field: str) -> None:
    refused(**{field: ["READ", "human", "read"]})


def test_a_grant_travels_through_json() -> None:
    full = made(
        id="g", effect="deny", subject="role:a", effects=["READ"], undoable=True, origin=["agent"], max_risk="LOW",
        isolation="vm",
        where={"paths": ["/a/**"], "hosts": ["*.b.org:1"], "connections": ["c"], "args": {"d": [1, "e"]}},
        when={"hours": "08:00-09:00", "cidr": ["10.0.0.0/8"], "mfa_max_age_s": 5}, require={"approvals": 2,
        "by": ["user:x"]},
    )  # fmt: skip
    assert Grant.model_validate_json(full.model_dump_json(exclude_defaults=True)) == full


def test_isolation_levels_are_ordered_from_none_to_a_machine_of_its_own() -> None:
    levels: tuple[IsolationLevel, ...] = ("none", "landlock", "native", "container", "vm")
    assert [ISOLATION[level] for level in levels] == [0, 1, 2, 3, 4]
