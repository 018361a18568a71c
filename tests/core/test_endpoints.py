"""Endpoints: one reading of every name, rules that only narrow, and no address but a public one."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.endpoints import (
    MOST_RULES,
    Endpoint,
    HostRule,
    HostRules,
    NotPublic,
    Reach,
    address_in,
    closed,
    is_public,
    plain_address,
    public_or,
    vet,
)
from superagent.core.problems import InvalidInput
from superagent.core.resources import Effect

# ---- names


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("example.org:443", Endpoint("example.org", 443)),
        ("Example.ORG.:8443", Endpoint("example.org", 8443)),
        ("xn--bcher-kva.de:443", Endpoint("xn--bcher-kva.de", 443)),
        ("[2001:DB8::0001]:80", Endpoint("[2001:db8::1]", 80)),
        ("[::ffff:10.0.0.1]:80", Endpoint("10.0.0.1", 80)),
        ("a.b:22", Endpoint("a.b", 22)),
    ],
)
def test_the_target_of_a_tunnel_has_one_spelling(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.of_authority(text) == endpoint
    assert Endpoint.of_authority(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "bad",
    [
        "example.org", "example.org:", ":443", "", "user@example.org:443", "good.org:443@evil.org:443",
        "https://example.org:443", "example.org:443/", "example.org:443?x:1", "exa mple.org:443", "example.org :443",
        "example.org\0.evil.org:443", "example.org:443\0", "example.org:443\n", "\texample.org:443", "a\\b:443",
        "example.org:0443x", "example.org:65536", "example.org:+443", "example.org:\u0664\u0664", "b\u00fccher.de:443",
        "2130706433:80", "0x7f000001:80", "0177.0.0.1:80", "127.1:80", "[fe80::1%eth0]:80", "[fe80::1%25eth0]:80",
        "::1:80", "%6c%6f%63alhost:80", "example%2eorg:443", "example..org:443", "-x.org:443",
    ],
)  # fmt: skip
def test_a_target_with_two_readings_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        Endpoint.of_authority(bad)


def test_an_endpoint_is_the_resource_that_policy_judges() -> None:
    assert Endpoint.of("https://Example.org/x").resource(Effect.CHANGE).id == "host://-/example.org:443"


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1", "0X7F000001", "2130706433",
        "017700000001", "[::ffff:127.0.0.1]", "::ffff:7f00:1", "[::FFFF:127.0.0.1%lo]", "0x7F.0.00.01",
    ],
)  # fmt: skip
def test_an_address_is_recognised_in_every_spelling(text: str) -> None:
    assert address_in(text) == ipaddress.IPv4Address("127.0.0.1")


@pytest.mark.parametrize("text", ["::1", "[::1]", "[0:0::1]", "::1%lo", "[::1%25lo]"])
def test_an_address_of_version_6_is_recognised_with_brackets_and_zone(text: str) -> None:
    assert address_in(text) == ipaddress.IPv6Address("::1")


@pytest.mark.parametrize(
    "text",
    ["example.org", "1.2.3.4.example.org", "x127.0.0.1", "a", "1.2.3.4.5", "256.1.1.1", "1.16777216", "4294967296",
     "09.1", "", ".", "0x100000000", "99999999999999999999", "1..2", "0x1g", "fe80::zz", "1.2.3.256"],
)  # fmt: skip
def test_a_name_is_no_address(text: str) -> None:
    assert address_in(text) is None


@given(st.lists(st.sampled_from(["0", "1", "255", "256", "0x7f", "017", "65535", "0x", "08", "x"]), min_size=1))
def test_addresses_are_read_as_the_c_library_reads_them(parts: list[str]) -> None:
    text = ".".join(parts)
    try:
        real = ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        real = None
    assert address_in(text) == real or "0x" in parts  # glibc takes no bare `0x`; other resolvers do


def test_an_endpoint_says_whether_an_address_stands_for_its_name() -> None:
    assert Endpoint.of("1.1.1.1:443").literal == ipaddress.IPv4Address("1.1.1.1")
    assert Endpoint.of("[2606:4700::1]:443").literal == ipaddress.IPv6Address("2606:4700::1")
    assert Endpoint.of("one.one.one.one:443").literal is None


# ---- rules


def reach(rules: HostRules, text: str) -> Reach | None:
    return rules.reach(Endpoint.of(text))


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("example.org:443", ["example.org:443", "EXAMPLE.org.:443"], ["example.org:80", "a.example.org:443"]),
        ("*.example.org:443", ["a.example.org:443", "a.b.example.org:443"],
         ["example.org:443", "evilexample.org:443", "example.org.evil.org:443", "a.example.org:22"]),
        ("example.org", ["example.org:443", "example.org:22"], ["example.com:443"]),
        ("example.org:*", ["example.org:1"], ["xexample.org:1"]),
        ("*:443", ["any.org:443"], ["any.org:80"]),
    ],
)  # fmt: skip
def test_a_rule_reaches_what_the_same_text_in_a_grant_covers(rule: str, inside: list[str], outside: list[str]) -> None:
    rules = HostRules.of(rule)
    assert all(reach(rules, one) == Reach() for one in inside)
    assert not any(reach(rules, one) for one in outside)


def test_nothing_is_reached_without_a_rule() -> None:
    assert reach(HostRules(), "example.org:443") is None
    assert reach(HostRules([]), "example.org:443") is None
    assert reach(HostRules.of("example.org").narrowed([]), "example.org:443") is None


def test_each_layer_can_only_narrow() -> None:
    server = [HostRule.of("*.example.org:443", ["GET", "POST"]), HostRule.of("db.example.org:5432", raw=True)]
    rules = HostRules(server, [HostRule.of("*.example.org", ["GET", "PUT"])])
    assert reach(rules, "a.example.org:443") == Reach(frozenset({"GET"}))
    assert reach(rules, "a.example.org:80") is None
    assert reach(rules, "db.example.org:5432") == Reach(frozenset({"GET", "PUT"}))  # raw only where every layer says so
    assert reach(HostRules(server, [HostRule.of("*")]), "a.example.org:443") == Reach(frozenset({"GET", "POST"}))
    assert reach(HostRules([HostRule.of("*")], server), "db.example.org:5432") == Reach()


def test_rules_of_one_layer_add_up() -> None:
    rules = HostRules([HostRule.of("example.org", ["GET"]), HostRule.of("*.org", ["POST"]), HostRule.of("a.org")])
    both = reach(rules, "example.org:443")
    assert both is not None
    assert both.takes("GET")
    assert both.takes("POST")
    assert not both.takes("DELETE")
    free = reach(rules, "a.org:443")
    assert free is not None
    assert free.takes("DELETE")


def test_a_rule_reads_as_it_is_written() -> None:
    assert HostRule.of("Example.ORG:443", ["POST", "GET"]).source == "GET,POST example.org:443"
    assert HostRule.of("db.example.org:5432", raw=True).source == "db.example.org:5432 raw"


@pytest.mark.parametrize(
    ("host", "methods", "raw"),
    [("", [], False), ("a b", [], False), ("user@a", [], False), ("a:0", [], False), ("https://a", [], False),
     ("a", ["get"], False), ("a", ["GET\r\nX"], False), ("a", [""], False), ("a", ["GET"], True)],
)  # fmt: skip
def test_a_faulty_rule_is_refused(host: str, methods: list[str], raw: bool) -> None:
    with pytest.raises(InvalidInput):
        HostRule.of(host, methods, raw)


def test_there_is_a_limit_to_how_many_rules_are_looked_through() -> None:
    with pytest.raises(InvalidInput):
        HostRules([HostRule.of("a.org")] * (MOST_RULES + 1))


NAMES = st.lists(st.sampled_from(["a", "b", "example", "org", "evil"]), min_size=1, max_size=4).map(".".join)


@given(NAMES, NAMES, st.integers(1, 65535))
def test_a_wildcard_never_reaches_another_domain(domain: str, name: str, port: int) -> None:
    found = HostRules.of(f"*.{domain}:{port}").reach(Endpoint(name, port))
    assert (found is not None) == name.endswith("." + domain)


# ---- addresses

CLOSED = [  # every kind of address that is not one of the public internet
    "0.0.0.0", "0.1.2.3",  # noqa: S104
    "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1",
    "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
]  # fmt: skip
OPEN = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "168.63.129.17", "172.15.0.1", "172.32.0.1", "192.0.1.1",
    "198.20.0.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1",
    "::ffff:8.8.8.8", "2606:4700::5efe:8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("text", CLOSED)
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    assert closed(ipaddress.ip_address(text))
    with pytest.raises(NotPublic) as refused:
        vet(["1.1.1.1", text])
    assert refused.value.address == text
    assert refused.value.why


@pytest.mark.parametrize("text", OPEN)
def test_a_public_address_passes(text: str) -> None:
    assert vet([text, text]) == (plain_address(ipaddress.ip_address(text)),)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "2606:4700::1%1", "example.org", "", "1.1.1", "1.1.1.1:80"])
def test_what_is_no_plain_address_spoils_the_answer(text: str) -> None:
    with pytest.raises(NotPublic):
        vet([text])


@given(st.ip_addresses())
def test_what_passes_is_public_to_the_library_as_well(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(address):
        inner = plain_address(address)
        assert not (inner.is_private)
        assert not (inner.is_loopback)
        assert not (inner.is_link_local)
        assert not (inner.is_multicast)


@given(st.ip_addresses(v=4))
def test_ipv4_is_judged_alike_in_every_coat(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    coats = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80 | 1]
    assert {is_public(ipaddress.IPv6Address(coat)) for coat in coats} == {is_public(address)}


def test_whoever_runs_the_installation_can_name_exceptions() -> None:
    public = public_or(["127.0.0.1/32", "fd00::/8"])
    assert vet(["127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "1.1.1.1"], public)
    for other in ("127.0.0.2", "::1", "10.0.0.1"):
        with pytest.raises(NotPublic):
            vet([other], public)
    with pytest.raises(InvalidInput):
        public_or(["127.0.0.1/8"])


def test_an_own_question_about_addresses_is_believed_when_it_says_no() -> None:
    with pytest.raises(NotPublic, match="not allowed here"):
        vet(["1.1.1.1"], lambda address: False)
