"""Pages of sign-in: small server-rendered documents over the operations; they decide nothing (rules.md 27)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from superagent.core.mounts import Receive, Scope, Send, Visit, answer, changes, cookie, not_here, visit_of
from superagent.core.plugin import Plugin
from superagent.core.problems import Denied, Problem, RateLimited, StepUpRequired, Unauthenticated
from superagent.core.strict_json import parse_object
from superagent.features.sign_in import approval_pages, html, own_pages
from superagent.features.sign_in.html import SAFE, Page, form, hidden, local, passkey, text, trouble
from superagent.features.sign_in.pieces import arriving, as_stranger, away_cookie, away_name, client, output, signed_in

STATIC = Path(__file__).parent / "static"
_KINDS = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8"}

Handler = Callable[[Visit], Awaitable[Page]]


def mounted(sign_in: Plugin, provider: str) -> Plugin:
    """Give the plugin with its pages; `provider` is the identity provider's name, empty for none."""
    pages = _Pages(provider)
    routes: dict[tuple[str, str], Handler] = {
        ("GET", ""): pages.start,
        ("POST", "/password"): pages.password,
        ("POST", "/code"): pages.code,
        ("GET", "/provider"): pages.away,
        ("GET", "/provider/back"): pages.back,
        ("POST", "/provider/link"): pages.link_provider,
        **own_pages.ROUTES,
        **approval_pages.ROUTES,
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        visit = visit_of(scope)
        if visit.path.startswith("/static/"):
            await _static(visit, send)
        elif visit.path in _STEPS or visit.path == "/session":
            await _data(visit, send)
        else:
            await (await _page(routes, visit)).send(send)

    sign_in.mount("/sign-in", app, public=True)
    sign_in.mount("/device", _device, public=True)
    return sign_in


async def _device(scope: Scope, receive: Receive, send: Send) -> None:
    """Lead from the short address that a device shows (RFC 8628, 3.3) to its page."""
    visit = visit_of(scope)
    if visit.method not in ("GET", "HEAD") or visit.path:
        raise not_here(visit.method, "/device" + visit.path)
    code = visit.query.get("user_code", "")
    await Page(to="/sign-in/device" + (f"?{urlencode({'user_code': code})}" if code else "")).send(send)


async def _page(routes: dict[tuple[str, str], Handler], visit: Visit) -> Page:
    """Give the page of a request; what goes wrong is a page as well."""
    handler = routes.get((visit.method if visit.method != "HEAD" else "GET", visit.path))
    if handler is None and visit.path.startswith("/link/"):
        handler = _link
    try:
        if handler is None:
            raise not_here(visit.method, visit.path)
        refuse_foreign(visit)
        return await handler(visit)
    except StepUpRequired:
        return Page(to="/sign-in/step-up?next=/sign-in/you")
    except Unauthenticated as problem:
        return Page("Sign in", trouble(problem) + '<p><a href="/sign-in">Sign in</a></p>', problem.status)
    except Problem as problem:
        return Page("That did not work", trouble(problem) + '<p><a href="/sign-in">Back</a></p>', problem.status)


def refuse_foreign(visit: Visit) -> None:
    """Refuse what is posted from elsewhere: nobody is to be signed in by another's page. Raises `Denied`."""
    if not visit.origin:
        raise Denied(
            "this is not the address of this installation", hint="open its own, or set `server.public_url` to this one"
        )
    if changes(visit.method) and not visit.same_origin:
        raise Denied("this was sent from another site's page", hint="open `/sign-in` here")


class _Pages:
    """The ways in."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    async def start(self, visit: Visit) -> Page:
        """`GET /sign-in`: the ways in."""
        following = local(visit.query.get("next", ""))
        if not visit.stranger and visit.session:
            return Page(to=following)
        if visit.headers.get(b"sec-fetch-site") == b"cross-site":
            # another site led here, so the browser kept a strict cookie back: asked from a document of ours it sends it
            return Page("One moment", again_to=f"/sign-in?{urlencode({'next': following})}")
        return self._start(following, None)

    def _start(self, following: str, problem: Problem | None) -> Page:
        fields = text("user", "Name", complete="username", focus=True)
        fields += text("password", "Password", "password", "current-password") + hidden("next", following)
        body = trouble(problem) + form("/sign-in/password", fields, "Sign in")
        body += passkey("passkey", "Sign in with a passkey", following)
        if self._provider:
            name = html.escape(self._provider)
            body += f'<p><a href="/sign-in/provider">Sign in with {name}</a></p>'
        body += "<p>The first time here? Open the link that the platform printed when it started. It is used up, or "
        body += (
            "you have lost what you sign in with? Whoever owns the data folder makes another: <code>superagent recover"
        )
        body += "</code>.</p>"
        return Page("Sign in", body, problem.status if problem else 200)

    async def password(self, visit: Visit) -> Page:
        """`POST /sign-in/password`."""
        fields = await visit.form()
        following, (tenant, user) = local(fields.get("next", "")), _named(fields.get("user", ""))
        given: dict[str, Any] = {"user": user, "tenant": tenant, "password": fields.get("password", "")}
        try:
            came = await as_stranger(visit, "signin.password", given | arriving(visit))
        except (Unauthenticated, RateLimited) as problem:
            return self._start(following, problem)
        return signed_in(visit, came, following) if came["session"] else _code_wanted(came["next"], following, None)

    async def code(self, visit: Visit) -> Page:
        """`POST /sign-in/code`."""
        fields = await visit.form()
        following, step = local(fields.get("next", "")), fields.get("step", "")
        try:
            given = {"next": step, "code": fields.get("code", ""), "client": client(visit)}
            came = await as_stranger(visit, "signin.code", given)
        except (Unauthenticated, RateLimited) as problem:
            return _code_wanted(step, following, problem)
        return signed_in(visit, came, following)

    async def away(self, visit: Visit) -> Page:
        """`GET /sign-in/provider`: to the identity provider."""
        given = {"origin": visit.origin} | {k: v for k, v in arriving(visit).items() if k == "earlier"}
        sent = await as_stranger(visit, "signin.provider.begin", given)
        return Page(to=sent["url"], cookies=[away_cookie(visit, "in:" + sent["next"])])

    async def link_provider(self, visit: Visit) -> Page:
        """`POST /sign-in/provider/link`: to the identity provider, to link its account."""
        await visit.form()
        sent = output(await visit.call("signin.provider.link", {"origin": visit.origin}))
        # a form may not lead elsewhere by a redirect (`form-action`), a document of ours may
        return Page("One moment", again_to=sent["url"], cookies=[away_cookie(visit, "link:" + sent["next"])])

    async def back(self, visit: Visit) -> Page:
        """`GET /sign-in/provider/back`: from the identity provider."""
        what, _, step = visit.cookies.get(away_name(visit), "").partition(":")
        gone = away_cookie(visit, "", 0)
        if what == "link":
            # the browser comes from elsewhere, so without the session: it asks once more, from a document of ours
            said = [(name, value) for name, value in visit.query.items() if name != "again"]
            fields = "".join(hidden(name, value) for name, value in said) + hidden("step", step)
            if visit.stranger and "again" not in visit.query:
                return Page("One moment", again_to=f"/sign-in/provider/back?{urlencode(visit.query | {'again': '1'})}")
            return Page("Link this account", form("/sign-in/provider/linked", fields, "Link it", visit.csrf))
        given = {"next": step, "answer": visit.query, "client": client(visit)}
        came = await as_stranger(visit, "signin.provider", given)
        made = signed_in(visit, came, "/sign-in/you")
        return Page("One moment", again_to=made.to, cookies=[*made.cookies, gone])


async def _link(visit: Visit) -> Page:
    """`GET` and `POST /sign-in/link/…`: a one-use link; looking at it does not take it."""
    token = visit.path.removeprefix("/link/")
    if visit.method in ("GET", "HEAD"):
        body = "<p>This link works once. It signs you in, and you then choose how you sign in from now on.</p>"
        return Page("Welcome", body + form(f"/sign-in/link/{html.escape(token)}", hidden("go", "1"), "Go on"))
    came = await as_stranger(visit, "signin.link", {"token": token or "-"} | arriving(visit))
    return signed_in(visit, came, "/sign-in/you")


# ---- for the script

_STEPS: dict[str, tuple[str, bool]] = {
    "/passkey/ask": ("signin.passkey.ask", True),
    "/passkey": ("signin.passkey", True),
    "/step-up/passkey/ask": ("signin.step_up.ask", False),
    "/step-up/passkey": ("signin.step_up.passkey", False),
    "/you/passkey/ask": ("signin.passkeys.begin", False),
    "/you/passkey": ("signin.passkeys.add", False),
    "/approvals/passkey/ask": ("approvals.challenge", False),
    "/approvals/passkey": ("approvals.decide", False),
}


async def _data(visit: Visit, send: Send) -> None:
    """Answer the script: JSON in and out, the token of a session only ever in its cookie."""
    refuse_foreign(visit)
    if visit.path == "/session":
        if visit.stranger or not visit.session:
            raise Unauthenticated("nobody is signed in here", hint="sign in at `/sign-in`")
        who = visit.principal
        plain = {"person": who.id, "tenant": who.tenant, "csrf": visit.csrf, "mfa_at": who.second_factor_at}
        # by these a page sees that its reader may do other things than when it was drawn
        await _json(send, plain | {"roles": list(who.roles), "groups": list(who.groups)}, [])
        return
    if visit.method != "POST":
        raise not_here(visit.method, visit.path)
    operation, open_to_all = _STEPS[visit.path]
    asks = visit.path.endswith("/ask")
    given: dict[str, Any] = {"origin": visit.origin} if asks else await _read(visit)
    if operation == "approvals.challenge":
        given |= await _read(visit)
    elif operation == "approvals.decide":
        given["signature"] = {"response": given.pop("response", ""), "origin": visit.origin}
    if operation == "signin.passkey":
        given |= arriving(visit)
    call = visit.call_as_stranger if open_to_all else visit.call
    said = output(await call(operation, given))
    cookies = [cookie(visit.secure, said.pop("session"))] if said.get("session") else []
    await _json(send, said, cookies)


async def _read(visit: Visit) -> dict[str, Any]:
    said = parse_object(await visit.body())
    return {name: said[name] for name in ("next", "response", "name", "id", "decision") if name in said}


async def _json(send: Send, plain: dict[str, Any], cookies: list[str]) -> None:
    headers = [*SAFE, (b"content-type", b"application/json"), *((b"set-cookie", one.encode()) for one in cookies)]
    await answer(send, 200, msgspec.json.encode(plain), headers)


async def _static(visit: Visit, send: Send) -> None:
    # by exact name among the files that there are: nothing of a path reaches the file system
    found = {path.name: path for path in STATIC.iterdir() if path.suffix in _KINDS}.get(visit.path[len("/static/") :])
    if found is None or visit.method not in ("GET", "HEAD"):
        raise not_here(visit.method, visit.path)
    headers = [*(one for one in SAFE if one[0] != b"cache-control"), (b"cache-control", b"no-cache")]
    await answer(send, 200, found.read_bytes(), [*headers, (b"content-type", _KINDS[found.suffix])])


# ---- pieces


def _code_wanted(step: str, following: str, problem: Problem | None) -> Page:
    fields = text("code", "Code from your authenticator, or a recovery code", complete="one-time-code", focus=True)
    fields += hidden("step", step) + hidden("next", following)
    body = trouble(problem) + form("/sign-in/code", fields, "Go on")
    return Page("Second factor", body, problem.status if problem else 200)


def _named(user: str) -> tuple[str, str]:
    tenant, slash, name = user.strip().rpartition("/")
    return (tenant, name) if slash else ("default", name)
