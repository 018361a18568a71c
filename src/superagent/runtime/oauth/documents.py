"""Client documents: how a client that nobody registered describes itself (Client ID Metadata Documents).

The address is a stranger's choice, so it is asked through the vetted client, without redirects, for a small answer, and
only while a signed-in person looks at the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from superagent.core.context import Context
from superagent.core.endpoints import Endpoint
from superagent.core.problems import InvalidInput, Malformed
from superagent.core.resources import Effect, Resource
from superagent.core.strict_json import parse_object
from superagent.runtime.net.dialer import Dialer
from superagent.runtime.net.journal import By
from superagent.runtime.net.network import Network
from superagent.runtime.net.reach import CallNet
from superagent.runtime.oauth import redirects
from superagent.runtime.oauth.clients import Client, described
from superagent.runtime.oauth.ledger import FLOWS

LONGEST_ADDRESS, MOST_BYTES, PATIENCE_S = 200, 16 * 1024, 5.0
KEPT_S, MOST_KEPT = 300.0, 256
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()+,;=:@%/-]+")


class _Asks(CallNet):
    """The network as the authorization server uses it: TLS only; no grant is needed, for nothing is sent along."""

    def _judge(self, endpoint: Endpoint, method: str, by: By = "http") -> Resource:
        if method != "GET":
            raise InvalidInput("a client's document is only looked at")
        return endpoint.resource(Effect.READ)


class ClientDocuments:
    """Fetch and read documents of clients; what was read is good for five minutes."""

    def __init__(self, network: Network, now: Callable[[], float]) -> None:
        self._network = network
        self._now = now
        self._kept: dict[str, tuple[float, Client]] = {}

    async def client(self, ctx: Context, address: str) -> Client:
        """Give the client that describes itself at an address. Raises `InvalidInput` for one that does not."""
        known = self._kept.get(address)
        if known is not None and self._now() < known[0]:
            return known[1]
        check_address(address)
        network = self._network
        reach = _Asks(ctx, Dialer(network.resolve, network.public), lambda: network.trust, network.journal)
        answer = await reach.http.request(
            "GET", address, headers=[("Accept", "application/json")], follow=0, max_bytes=MOST_BYTES,
            timeout_s=PATIENCE_S,
        )  # fmt: skip
        if answer.status != 200:
            raise _odd(f"was answered with {answer.status}")
        try:
            client = client_in(parse_object(answer.body), address)
        except Malformed:
            raise _odd("is no JSON object") from None
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[address] = (self._now() + KEPT_S, client)
        return client


def check_address(address: str) -> None:
    """Check that a client's id can be the address of its document. Raises `InvalidInput`."""
    try:
        split = urlsplit(address)
        plain = split.scheme == "https" and not (split.query or split.fragment or "@" in split.netloc or "#" in address)
    except ValueError:
        plain, split = False, urlsplit("")
    parts = split.path.split("/")
    if not plain or not _PATH.fullmatch(split.path) or {".", ".."} & set(parts) or len(address) > LONGEST_ADDRESS:
        raise InvalidInput(
            "a client that is not registered is named by the address of its document",
            hint="`https://…/…` with a path, without query, fragment or user name, at most 200 characters",
        )


def client_in(document: dict[str, Any], address: str) -> Client:
    """Read a client's description. Raises `InvalidInput`."""
    if document.get("client_id") != address:
        raise _odd("describes another client than the one at its address")
    if "client_secret" in document or document.get("token_endpoint_auth_method", "none") != "none":
        raise _odd("asks to be known by a secret or a key, which such a client is not here")
    found = document.get("redirect_uris")
    listed = cast("list[object]", found) if isinstance(found, list) else []
    addresses = tuple(one for one in listed if isinstance(one, str) and not redirects.fault_of(one))
    if not addresses or len(addresses) != len(listed) or len(addresses) > redirects.MOST:
        raise _odd("names no redirect addresses, or some that cannot be")
    name = document.get("client_name")
    named = name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 100 else ""
    return described(address, named or urlsplit(address).netloc, addresses, FLOWS)


def _odd(what: str) -> InvalidInput:
    return InvalidInput(f"the client's document {what}")
