"""The pure parts of authorization: addresses, secrets, names of this site, and keys that turn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superagent.core.problems import Unavailable
from superagent.runtime.keys import FileKeys
from superagent.runtime.oauth import credentials, redirects
from superagent.runtime.oauth.signing import PURPOSE, STAYS_S, SigningKeys
from superagent.runtime.oauth.site import Site
from superagent.runtime.shared_map import SharedMap
from superagent.testing import FakeClock


@pytest.mark.parametrize(
    "address",
    [
        "https://app.example/back", "https://app.example:8443/back?x=1", "http://127.0.0.1/back",
        "http://127.0.0.1:8080/back", "http://[::1]:8080/back", "http://localhost/back", "org.example.app:/back",
        "https://[2001:db8::1]/back",
    ],
)  # fmt: skip
def test_addresses_that_can_be_registered(address: str) -> None:
    assert redirects.fault_of(address) == ""
    assert redirects.matches(address, [address])


@pytest.mark.parametrize(
    "address",
    [
        "", "back", "//app.example", "http://app.example/back", "https://app.example/back#x", "https://app.example/#",
        "https://u@app.example/", "https://u:p@app.example/", "https:///back", "javascript:alert(1)", "custom:/back",
        "data:text/html,x", "file:///etc/passwd", "https://app.example/a b", "https://app.example/\\evil",
        "https://äpp/", "https://*.app.example/", "https://app.example:x/", "https://[::1/", "http://127.1/",
        "http://127.0.0.1.evil.example/", "http://localhost.evil.example/", "https://app.example/" + "x" * 2000,
        "org.example.app://host/x",
    ],
)  # fmt: skip
def test_addresses_that_cannot(address: str) -> None:
    assert redirects.fault_of(address)
    assert not redirects.matches(address, [address])


def test_addresses_are_compared_letter_by_letter_but_for_the_port_on_this_machine() -> None:
    here = ["http://127.0.0.1:1/back", "https://app.example/back"]
    assert redirects.matches("http://127.0.0.1:9/back", here)
    for other in (
        "http://localhost:1/back", "http://[::1]:1/back", "http://127.0.0.1:9/other", "http://127.0.0.1:9/back?x",
        "https://127.0.0.1:1/back", "https://app.example:444/back", "https://app.example/back/",
        "https://APP.example/back", "https://app.example/back?",
    ):  # fmt: skip
        assert not redirects.matches(other, here), other


def test_a_person_sees_where_the_answer_goes() -> None:
    assert redirects.shown("https://app.example:8443/a") == "app.example:8443"
    assert redirects.shown("org.example.app:/a") == "org.example.app"
    assert redirects.target("https://app.example:8443/a") == "https://app.example:8443"
    assert redirects.target("org.example.app:/a") == "org.example.app:"
    assert redirects.is_local("http://localhost:1/")
    assert not redirects.is_local("https://localhost:1/")


def test_secrets_are_long_and_known_by_their_beginning() -> None:
    one, other = credentials.mint(credentials.CLIENT), credentials.mint(credentials.CLIENT)
    assert one.startswith("sac_")
    assert len(one) == 44
    assert one != other
    assert credentials.digest(one) != credentials.digest(other)
    assert one not in credentials.digest(one)


def test_codes_are_read_as_people_type_them() -> None:
    code = credentials.user_code()
    assert credentials.typed(f" {code.lower().replace('-', ' ')} ") == code
    assert credentials.typed(code[:-1]) == ""
    assert credentials.typed("") == ""


def test_a_site_that_serves_nothing_issues_nothing() -> None:
    site = Site()
    with pytest.raises(Unavailable, match="serves nothing"):
        site.issuer("http://localhost:1")
    assert site.resources("http") == ()
    assert site.named("http://localhost:1") == ""


def test_a_site_is_known_by_the_names_of_this_machine_or_by_its_public_one() -> None:
    here, public = Site(), Site("https://agents.example")
    here.served_at("http://127.0.0.1:8750")
    public.served_at("http://127.0.0.1:8750")

    assert here.issuers == ("http://127.0.0.1:8750", "http://localhost:8750", "http://[::1]:8750")
    assert here.issuer("http://localhost:8750") == "http://localhost:8750"
    assert here.issuer("https://evil.example") == "http://127.0.0.1:8750"
    assert public.issuers == ("https://agents.example",)
    assert public.issuer("http://localhost:8750") == "https://agents.example"
    assert public.resources("mcp") == ("https://agents.example/mcp",)
    assert public.resources("web") == ()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("https://agents.example", "https://agents.example"),
        ("https://agents.example/", "https://agents.example"),
        ("HTTPS://Agents.Example/mcp", "https://agents.example/mcp"),
        ("https://agents.example/mcp/", "https://agents.example/mcp"),
        ("https://agents.example/MCP", ""),
        ("https://agents.example/v1", ""),
        ("https://agents.example/mcp?x=1", ""),
        ("https://agents.example/mcp#x", ""),
        ("https://u@agents.example/mcp", ""),
        ("http://agents.example", ""),
        ("https://agents.example:444", ""),
        ("agents.example", ""),
        ("", ""),
    ],
)
def test_a_resource_is_one_of_ours_or_none(asked: str, found: str) -> None:
    assert Site("https://agents.example").named(asked) == found


def test_keys_turn_in_every_process_and_the_old_one_stays_for_a_while(tmp_path: Path) -> None:
    shared, clock = SharedMap(tmp_path / "map"), FakeClock()
    one, other = (SigningKeys(FileKeys(tmp_path / "keys"), shared.identity, clock.now) for _ in range(2))
    first = one.newest()[0]
    assert other.newest()[0] == first

    second = one.rotate()
    os.utime(tmp_path / "keys" / f"{PURPOSE}.2.key", (clock.now(), clock.now()))
    shared.identity.bump()

    assert other.newest()[0] == second != first
    assert [key["kid"] for key in other.published()["keys"]] == [second, first]
    assert "d" not in other.published()["keys"][0]
    clock.advance(STAYS_S - 1)
    assert other.find(first) is not None
    clock.advance(2)
    assert other.find(first) is None
    assert other.find(second) is not None
    assert [key["kid"] for key in other.published()["keys"]] == [second]
    shared.close()
