"""The parties of an authorization: a client of the tests, and the person whose browser it sends here."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx

from tests.surfaces.http.house import Caller, House

BACK = "http://127.0.0.1:9/back"
DEVICE_FLOW = "urn:ietf:params:oauth:grant-type:device_code"
_states = itertools.count(1)


@dataclass
class Client:
    """A registered client and what it last asked with."""

    house: House
    id: str
    secret: str | None
    verifier: str = ""
    state: str = ""
    basic: bool = True
    more: dict[str, str] = field(default_factory=dict[str, str])

    async def token(self, **fields: str) -> httpx.Response:
        """Ask at the token endpoint."""
        return await self.post("token", **fields)

    async def post(self, endpoint: str, **fields: str) -> httpx.Response:
        """Ask at an endpoint, showing who it is."""
        if self.secret is None:
            return await self.house.stranger.post(f"/oauth/{endpoint}", data={"client_id": self.id, **fields})
        if not self.basic:
            shown = {"client_id": self.id, "client_secret": self.secret, **fields}
            return await self.house.stranger.post(f"/oauth/{endpoint}", data=shown)
        return await self.house.stranger.post(f"/oauth/{endpoint}", data=fields, auth=(self.id, self.secret))

    def asks(self, **other: str) -> dict[str, str]:
        """Give the parameters of a good request for consent; empty ones are left out."""
        self.verifier, self.state = secrets.token_urlsafe(48), f"state{next(_states)}"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code", "client_id": self.id, "redirect_uri": BACK, "scope": "files.*",
            "state": self.state, "code_challenge": challenge, "code_challenge_method": "S256", **other,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value}

    async def code(self, person: Caller, **other: str) -> str:
        """Let a person agree, and give the code."""
        back = await agree(person, self.asks(**other))
        assert back["state"] == self.state
        assert back["iss"] == self.house.address
        return back["code"]

    async def tokens(self, person: Caller, **other: str) -> dict[str, Any]:
        """Let a person agree, and give the tokens."""
        response = await self.redeem(await self.code(person, **other))
        assert response.status_code == 200, response.text
        return response.json()

    async def redeem(self, shown: str, /, **other: str) -> httpx.Response:
        """Show a code."""
        fields = {
            "grant_type": "authorization_code",
            "code": shown,
            "redirect_uri": BACK,
            "code_verifier": self.verifier,
        }
        return await self.token(**{name: value for name, value in (fields | other).items() if value})

    async def refresh(self, token: str, **other: str) -> httpx.Response:
        """Show a refresh token."""
        return await self.token(grant_type="refresh_token", refresh_token=token, **other)


async def service(house: House, **input: Any) -> Client:
    """Register a service."""
    made = await house.owner.done("access.clients.create", {"name": "reports", "kind": "service", **input})
    return Client(house, made["id"], made["secret"])


async def application(house: House, **input: Any) -> Client:
    """Register an application, a public one unless `public=False`."""
    given = {"name": "Helper", "kind": "application", "redirect_uris": [BACK], "public": True, **input}
    made = await house.owner.done("access.clients.create", given)
    return Client(house, made["id"], made["secret"])


async def agree(person: Caller, asked: dict[str, str], decision: str = "allow") -> dict[str, str]:
    """Open the page, press a button, and give the parameters with which the browser is sent back."""
    page = await person.http.get("/oauth/authorize", params=asked)
    assert page.status_code == 200, page.text
    found = re.search(r'name="request" value="([^"]*)"', page.text)
    assert found is not None
    assert dict(parse_qsl(html.unescape(found[1]))) == asked
    pressed = await person.http.post(
        "/oauth/authorize", data={"request": html.unescape(found[1]), "decision": decision, "csrf": ""}
    )
    return sent_back(pressed)


def sent_back(response: httpx.Response) -> dict[str, str]:
    """Give the parameters with which a browser is sent back to the client of the tests."""
    assert response.status_code == 303, response.text
    location = response.headers["location"]
    assert location.startswith(BACK + "?"), location
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def refused(response: httpx.Response, error: str, status: int = 400) -> None:
    """Check that an endpoint refused in the words of OAuth."""
    by_header = "authorization" in response.request.headers
    assert response.status_code == (status if by_header or status != 401 else 400), response.text
    assert ("www-authenticate" in response.headers) is (response.status_code == 401)
    assert response.json()["error"] == error, response.text
    assert "no-store" in response.headers["cache-control"]


async def last_failure(house: House, client: str, who: str = "anonymous") -> dict[str, Any]:
    """Give what the audit says of the newest thing that was refused to a client, in the words of OAuth."""
    for tenant in ("default", "system"):
        found = (await house.installation.index.query(tenant, operation="oauth.refused", limit=20))[0]
        mine = [one for one in found if one["detail"]["client"] == client and one["who"] == who]
        if mine:
            return mine[0]["detail"]
    raise AssertionError(f"the audit knows of nothing that was refused to `{client}`")


async def record_of(house: House, operation: str, response: httpx.Response) -> None:
    """Check that the line recorded a call that did not succeed."""
    found = (await house.installation.index.query("system", operation=operation, limit=1))[0]
    assert found[0]["problem"], (found, response.text)
