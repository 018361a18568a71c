"""A browser for tests: cookies, forms and what browsers say of where a request comes from, over the real server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import httpx
from pyotp.totp import TOTP

from tests.surfaces.http.house import PATIENCE_S, House
from tests.webauthn import Authenticator

PASSWORD = "correct horse battery"
_FORM = re.compile(r'<form method="post" action="([^"]+)">(.*?)</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass
class Web:
    """One browser at this installation, under the name `localhost`."""

    house: House
    http: httpx.AsyncClient = field(init=False)
    origin: str = field(init=False)
    page: httpx.Response | None = None

    def __post_init__(self) -> None:
        self.origin = f"http://localhost:{self.house.port}"
        # by number, for the name is not looked up here; the server sees the name, as from a browser
        self.http = httpx.AsyncClient(base_url=self.house.address, timeout=PATIENCE_S)
        self.http.headers["Host"] = f"localhost:{self.house.port}"
        self.house.clients.append(self.http)

    @property
    def session(self) -> str:
        """Give the session's token, empty for none."""
        return self.http.cookies.get("superagent") or ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Go to a page, by a link of ours; redirects within are followed."""
        self.page = await self.http.get(path, headers={"Sec-Fetch-Site": "same-origin"} | headers)
        return await self._followed()

    async def submit(self, action: str, **fields: str) -> httpx.Response:
        """Fill in the form of the present page with this action, and send it."""
        assert self.page is not None
        found = [inner for where, inner in _FORM.findall(self.page.text) if unescape(where) == action]
        assert found, f"no form to {action} in {self.page.text}"
        hidden = {name: unescape(value) for name, value in _HIDDEN.findall(found[0])}
        return await self.post(action, hidden | fields)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        """Send a form, whatever the present page has."""
        own = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        self.page = await self.http.post(path, data=fields, headers=own | headers)
        return await self._followed()

    async def _followed(self) -> httpx.Response:
        assert self.page is not None
        hops = 0
        while self.page.status_code == 303 and self.page.headers["location"].startswith("/") and hops < 5:
            self.page = await self.http.get(self.page.headers["location"], headers={"Sec-Fetch-Site": "same-origin"})
            hops += 1
        return self.page

    async def script(self, path: str, body: dict[str, Any], csrf: str | None = None, **headers: str) -> httpx.Response:
        """Post JSON, as the script of the pages does."""
        own = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        if self.session:
            own["X-CSRF-Token"] = csrf if csrf is not None else (await self.token())
        return await self.http.post(path, json=body, headers=own | headers)

    async def token(self) -> str:
        """Give the token against forged requests."""
        response = await self.http.get("/sign-in/session")
        return response.json()["csrf"] if response.status_code == 200 else ""

    async def call(self, operation: str, input: dict[str, Any] | None = None) -> httpx.Response:
        """Run an operation in the browser session, as the console will."""
        return await self.script(f"/v1/operations/{operation}", input or {})

    async def done(self, operation: str, input: dict[str, Any] | None = None) -> Any:
        """Run one that has to succeed and give its output."""
        response = await self.call(operation, input)
        assert response.status_code == 200, response.text
        return response.json()["output"]

    # ---- whole ways

    async def by_link(self, person: str = "owner") -> None:
        """Come in by a one-use link."""
        token = await self.house.installation.desk.link("default", person)
        await self.get(f"/sign-in/link/{token}")
        response = await self.submit(f"/sign-in/link/{token}")
        assert response.status_code == 200, response.text
        assert self.session

    async def enrol_passkey(self, device: Authenticator | None = None) -> Authenticator:
        """Add a passkey in the present session."""
        device = device or Authenticator(self.origin)
        asked = (await self.script("/sign-in/you/passkey/ask", {})).json()
        answer = {"next": asked["next"], "response": device.create(asked["options"])}
        response = await self.script("/sign-in/you/passkey", answer)
        assert response.status_code == 200, response.text
        return device

    async def enrol_totp(self) -> TOTP:
        """Add one-time codes in the present session."""
        await self.get("/sign-in/you")
        page = await self.submit("/sign-in/you/totp")
        fields = {name: unescape(value) for name, value in _HIDDEN.findall(page.text)}
        totp = TOTP(fields["secret"])
        page = await self.submit("/sign-in/you/totp/add", code=totp.at(self.now() - 30))
        assert page.status_code == 200, page.text
        return totp

    async def set_password(self, password: str = PASSWORD) -> None:
        """Set the password in the present session."""
        await self.get("/sign-in/you")
        page = await self.submit("/sign-in/you/password", password=password)
        assert page.status_code == 200, page.text

    async def by_passkey(self, device: Authenticator) -> httpx.Response:
        """Sign in by a passkey."""
        asked = (await self.script("/sign-in/passkey/ask", {})).json()
        return await self.script("/sign-in/passkey", {"next": asked["next"], "response": device.get(asked["options"])})

    async def by_password(self, user: str = "owner", password: str = PASSWORD, after: str = "") -> httpx.Response:
        """Sign in by name and password, up to the page that comes of it."""
        await self.get(f"/sign-in?next={after}" if after else "/sign-in")
        return await self.submit("/sign-in/password", user=user, password=password)

    def now(self) -> float:
        """Give the server's time."""
        return self.house.installation.kernel.hands.clock.now()
