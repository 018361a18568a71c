"""A server that wants tokens, and who gives them: by hand, so that each can do one thing wrong."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from tests.runtime.mcp_client.servers.hostile import Server
from tests.runtime.net.outside import Asked, Site, ok, site
from tests.surfaces.http.house import House

SECRET = "correct-horse-battery-staple-of-the-client"
_numbers = itertools.count(1)


@dataclass
class Guarded:
    """Both of them. `for_s` is how long a token is said to be good, `how` what is wrong, `given` what was given."""

    how: str = ""
    for_s: int = 3600
    good: set[str] = field(default_factory=set[str])
    given: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    refresh: str = ""
    challenge: str = ""
    shown: list[str] = field(default_factory=list[str])
    server: Site = field(default_factory=Site)
    giver: Site = field(default_factory=Site)
    elsewhere: Site = field(default_factory=Site)

    @property
    def url(self) -> str:
        """Give the server's address."""
        return f"http://localhost:{self.server.port}/mcp"

    @property
    def issuer(self) -> str:
        """Give that of who gives tokens."""
        return f"http://localhost:{self.giver.port}"

    def serve(self, asked: Asked) -> bytes:
        """Answer as the server."""
        path = asked.line.split()[1]
        if path.startswith("/.well-known/oauth-protected-resource"):
            resource = "http://other.test:1/mcp" if self.how == "other resource" else self.url
            issuers = ["http://other.test:1"] if self.how == "other issuer" else [self.issuer]
            return _json({"resource": resource, "authorization_servers": issuers})
        (shown,) = asked.header("authorization") or [""]
        if shown.removeprefix("Bearer ") not in self.good:
            told = f"http://localhost:{self.server.port}/.well-known/oauth-protected-resource/mcp"
            if self.how == "metadata elsewhere":
                told = f"http://other.test:{self.elsewhere.port}/"
            return ok(b"", f'WWW-Authenticate: Bearer resource_metadata="{told}"', status="401 Unauthorized")
        self.shown.append(shown)
        message = json.loads(asked.body)
        if message.get("method") == "tools/call" and message["params"]["arguments"].get("how") == "tell":
            said = {"content": [{"type": "text", "text": f"you showed {shown}"}]}
            return _json({"jsonrpc": "2.0", "id": message["id"], "result": said})
        return ok(Server("plain").take(message) or b"", "Content-Type: application/json")

    def give(self, asked: Asked) -> bytes:
        """Answer as who gives tokens."""
        path = asked.line.split()[1]
        if path == "/.well-known/oauth-authorization-server":
            token = f"http://other.test:{self.elsewhere.port}/token" if self.how == "token elsewhere" else ""
            return _json(
                {
                    "issuer": "http://other.test:1" if self.how == "another name" else self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": token or f"{self.issuer}/token",
                    "code_challenge_methods_supported": [] if self.how == "no PKCE" else ["S256"],
                    "authorization_response_iss_parameter_supported": True,
                }
            )
        if path.startswith("/authorize"):
            said = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
            self.challenge = said["code_challenge"]
            to = f"{said['redirect_uri']}?code=a-code-of-theirs&state={said['state']}&iss={self.issuer}"
            return ok(b"", f"Location: {to}", status="302 Found")
        if path != "/token":
            return ok(b"", status="404 Not Found")
        if self.how == "redirects":
            return ok(b"", f"Location: http://other.test:{self.elsewhere.port}/", status="307 Temporary Redirect")
        return self._token(asked)

    def _token(self, asked: Asked) -> bytes:
        said = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        client, _, secret = (
            base64.b64decode(asked.header("authorization")[0].removeprefix("Basic ")).decode().partition(":")
        )
        said |= {"client": unquote(client), "secret": unquote(secret)}
        self.given.append(said)
        if self.how == "tells":
            return _json({"error": f"you sent {said['refresh_token']} and {said['secret']}"}, "400 Bad Request")
        match said["grant_type"]:
            case "refresh_token" if said["refresh_token"] != self.refresh:
                return _json({"error": "invalid_grant"}, "400 Bad Request")
            case "authorization_code":
                digest = base64.urlsafe_b64encode(hashlib.sha256(said["code_verifier"].encode()).digest())
                assert digest.rstrip(b"=").decode() == self.challenge
            case _:
                pass
        number = next(_numbers)
        token = f"token-number-{number}-which-nobody-may-see"
        self.good = {token}
        answer: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "expires_in": self.for_s}
        if said["grant_type"] != "client_credentials":
            self.refresh = f"refresh-number-{number}-which-nobody-may-see"
            answer["refresh_token"] = self.refresh
        return _json(answer)

    def token_of(self) -> str:
        """Give the token that is good now."""
        (token,) = self.good
        return token


def _json(document: dict[str, Any], status: str = "200 OK") -> bytes:
    return ok(json.dumps(document).encode(), "Content-Type: application/json", status=status)


@asynccontextmanager
async def guarded(how: str = "", **more: Any) -> AsyncGenerator[Guarded]:
    """Run both, and somebody elsewhere whom nothing may reach."""
    made = Guarded(how, **more)
    async with site(made.serve) as made.server, site(made.give) as made.giver, site(ok(b"{}")) as made.elsewhere:
        yield made


async def login(house: House, one: Guarded, grant: str = "client_credentials", **options: Any) -> str:
    """Make the connection, and give its name."""
    name = f"login-{next(_numbers)}"
    await house.owner.done("secrets.put", {"name": name, "value": SECRET})
    made = {"issuer": one.issuer, "client_id": "superagent", "grant": grant, **options}
    await house.owner.done(
        "connections.create",
        {"name": name, "type": "oauth", "endpoint": one.issuer, "secret": name, "options": made},
    )
    return name


async def agreed(house: House, one: Guarded, name: str) -> str:
    """Agree as a person does, and give the address at which the browser ended."""
    said = await house.owner.done("plugins.authorize", {"login": name, "url": one.url})
    assert said["state"] == "agree"
    async with httpx.AsyncClient(follow_redirects=False) as browser:
        ended = (await browser.get(said["link"])).headers["location"]
    done = await house.owner.done("plugins.authorize", {"login": name, "url": one.url, "answer": ended})
    assert done["state"] == "authorized"
    return ended
