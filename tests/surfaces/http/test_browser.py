"""What browsers and proxies say: the session cookie, our own address, and who is behind a trusted proxy."""

from __future__ import annotations

import pytest

from superagent.core.problems import InvalidInput
from superagent.settings import parse
from superagent.surfaces.http.browser import Browser, cookies_of, networks

TOKEN = b"sas_" + b"x" * 43


@pytest.mark.parametrize(
    ("cookie", "found"),
    [
        (b"superagent=" + TOKEN, TOKEN), (b"a=b; superagent=" + TOKEN, TOKEN),
        (b"superagent=" + TOKEN + b"; a=b", TOKEN),
        (b"", b""), (b"superagent=", b""), (b"superagent=sak_" + b"x" * 43, b""), (b"xsuperagent=" + TOKEN, b""),
        (b"superagent=" + TOKEN + b"; superagent=" + TOKEN, b""), (b"__Host-superagent=" + TOKEN, b""),
        (b"a=b, superagent=" + TOKEN, b""),
    ],
)  # fmt: skip
def test_the_session_is_the_one_cookie_of_that_name(cookie: bytes, found: bytes) -> None:
    assert Browser().session({b"cookie": cookie}) == found
    assert Browser().session({}) == b""


def test_over_tls_only_the_cookie_that_is_bound_to_this_host_counts() -> None:
    browser = Browser("https://agents.example")
    assert browser.session({b"cookie": b"__Host-superagent=" + TOKEN}) == TOKEN
    assert browser.session({b"cookie": b"superagent=" + TOKEN}) == b""


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"localhost:8750", "http://localhost:8750"), (b"LOCALHOST", "http://localhost"),
        (b"127.0.0.1:1", "http://127.0.0.1:1"), (b"[::1]:8750", "http://[::1]:8750"), (b"evil.example", ""),
        (b"localhost.evil.example", ""), (b"localhost@evil.example", ""), (b"", ""), (b"localhost:8750/x", ""),
        (b"127.0.0.1.evil.example:80", ""), (b"0.0.0.0", ""),
    ],
)  # fmt: skip
def test_without_a_public_address_only_names_of_this_machine_are_ours(host: bytes, origin: str) -> None:
    assert Browser().origin({b"host": host}) == origin


def test_with_a_public_address_only_that_is_ours() -> None:
    browser = Browser("https://agents.example:8443")
    assert browser.origin({b"host": b"agents.example:8443"}) == "https://agents.example:8443"
    for other in (b"agents.example", b"localhost:8750", b"evil.example"):
        assert browser.origin({b"host": other}) == ""
    ours = {b"host": b"agents.example:8443"}
    assert browser.same_origin(ours)
    assert browser.same_origin(ours | {b"origin": b"https://agents.example:8443", b"sec-fetch-site": b"same-origin"})
    for foreign in (b"http://agents.example:8443", b"null", b"https://agents.example", b""):
        assert not browser.same_origin(ours | {b"origin": foreign})


@pytest.mark.parametrize(
    ("peer", "said", "remote"),
    [
        ("10.0.0.1", b"9.9.9.9", "9.9.9.9"), ("10.0.0.1", b"1.1.1.1, 9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", b"1.1.1.1, 9.9.9.9, 10.0.0.2", "9.9.9.9"), ("8.8.8.8", b"9.9.9.9", "forwarded:8.8.8.8"),
        ("10.0.0.1", b"nonsense", "forwarded:10.0.0.1"), ("10.0.0.1", b"127.0.0.1", "forwarded:127.0.0.1"),
        ("10.0.0.1", b"", "forwarded:10.0.0.1"), ("10.0.0.1", b"::1", "forwarded:::1"), ("10.0.0.1", None, "10.0.0.1"),
    ],
)  # fmt: skip
def test_a_trusted_proxy_says_who_calls_and_a_caller_does_not(peer: str, said: bytes | None, remote: str) -> None:
    browser = Browser("", networks(["10.0.0.0/8"]))
    headers = {} if said is None else {b"x-forwarded-for": said}

    assert browser.remote({"client": (peer, 1)}, headers) == remote


def test_cookies_that_cannot_be_read_are_none() -> None:
    assert cookies_of({b"cookie": b"a=b; c=d"}) == {"a": "b", "c": "d"}
    assert cookies_of({b"cookie": b"a\x00=b"}) == {}
    assert cookies_of({}) == {}


@pytest.mark.parametrize(
    "url", ["agents.example", "ftp://x", "https://x/", "https://x/path", "https://U", "https://x y", "https://x\n"]
)
def test_a_public_address_is_scheme_and_host(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse({"server": {"public_url": url}})
    assert parse({"server": {"public_url": "https://agents.example:8443"}}).server.public_url
    with pytest.raises(InvalidInput):
        parse({"server": {"trusted_proxies": ["nonsense"]}})
