"""What has the shape of a secret does not come through redaction, and what has not does."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.redaction import GONE, redact, redact_text

SECRETS = [
    "sak_" + "a1B2c3D4e5F6" * 3 + "abcdef",
    "sar_abcdefgh12345678",
    "Bearer abc.def-ghi_jkl",
    "basic dXNlcjpwYXNzd29yZA==",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ghp_" + "a" * 36,
    "github_pat_" + "a" * 30,
    "glpat-" + "a" * 20,
    "xoxb-" + "1" * 12,
    "sk-ant-" + "a" * 30,
    "sk_live_" + "a" * 24,
    "npm_" + "a" * 36,
    "AIza" + "a" * 35,
    "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nabc that was cut off",
]
PLAIN = st.text("abc defghij.,\n", max_size=20)


@given(PLAIN, st.sampled_from(SECRETS), PLAIN)
def test_a_secret_in_the_middle_of_a_text_is_gone(before: str, secret: str, after: str) -> None:
    out = redact_text(f"{before} {secret} {after}")
    assert secret not in out
    assert GONE in out
    assert out.startswith(before)


@given(PLAIN)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:s3cret@example.org/x", f"https://{GONE}@example.org/x"),
        ("password=hunter22&x=1", f"password={GONE}&x=1"),
        ('{"api_key": "k 1", "n": 2}', f'{{"api_key": {GONE}, "n": 2}}'),
        ("token: 'a b c' end", f"token: {GONE} end"),
        ("DB_PASSWORD=a\nB=2", f"DB_PASSWORD={GONE}\nB=2"),
        ("see https://example.org/a:b", "see https://example.org/a:b"),
        ("task_force and risk-free", "task_force and risk-free"),
        ("a\udcffb", "a\\udcffb"),
        ("über=ß ✓", "über=ß ✓"),
    ],
)
def test_what_is_written_like_a_secret_is_gone_and_its_surroundings_stay(text: str, left: str) -> None:
    assert redact_text(text) == left


def test_known_values_are_gone_wherever_they_stand_unless_they_are_too_short_to_mean_anything() -> None:
    assert redact_text("x-hunter2-x ab", ("hunter2", "ab")) == f"x-{GONE}-x ab"
    assert redact({"a": ["hunter2"]}, ("hunter2",)) == {"a": [GONE]}


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"password": "x"}, {"password": GONE}),
        (
            {"accessToken": "x", "API-Key": "y", "session_cookie": "z"},
            dict.fromkeys(("accessToken", "API-Key", "session_cookie"), GONE),
        ),
        ({"secrets": {"a": 1}}, {"secrets": GONE}),
        ({"tokens": 5, "password": None, "secret": True}, {"tokens": 5, "password": None, "secret": True}),
        ({"monkey": "banana", "keyboard": "x"}, {"monkey": "banana", "keyboard": "x"}),
        ({1: ("Bearer abcdefghijk", 2.5)}, {1: [GONE, 2.5]}),
    ],
)
def test_names_that_hold_secrets_hide_what_stands_under_them(value: Any, left: Any) -> None:
    assert redact(value) == left


def test_a_text_made_to_be_slow_is_not() -> None:
    hostile = "-----BEGIN PRIVATE KEY" * 20_000 + "eyJ" * 50_000 + "password" * 20_000
    begin = time.process_time()
    redact_text(hostile)
    assert time.process_time() - begin < 5.0
