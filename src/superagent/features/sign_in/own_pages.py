"""The pages of somebody who is in: how you sign in, where you are signed in, the step up, a device's code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from superagent.core.mounts import Visit, cookie
from superagent.core.problems import Problem, RateLimited, Unauthenticated
from superagent.features.sign_in.html import Page, form, hidden, local, passkey, text, trouble
from superagent.features.sign_in.pieces import away_cookie, client, output, signed_in

YOU = "/sign-in/you"


def own(handler: Callable[[Visit], Awaitable[Page]]) -> Callable[[Visit], Awaitable[Page]]:
    """Let only a browser session through; whoever is in none signs in first."""

    async def guarded(visit: Visit) -> Page:
        if visit.stranger or not visit.session:
            after = "/sign-in" + visit.path + ("?user_code=" + visit.query["user_code"] if _coded(visit) else "")
            if visit.path == "/approvals" and visit.query.get("id", "").isalnum():
                after += quote("?id=" + visit.query["id"])
            return Page(to=f"/sign-in?next={after if visit.method == 'GET' else YOU}")
        return await handler(visit)

    return guarded


def _coded(visit: Visit) -> bool:
    return visit.query.get("user_code", "").replace("-", "").isalnum() and visit.query["user_code"].isascii()


@own
async def you(visit: Visit) -> Page:
    """`GET /sign-in/you`: how you sign in, and where you are signed in."""
    return await _you(visit)


async def _you(visit: Visit, problem: Problem | None = None) -> Page:
    have = output(await visit.call("signin.factors.list", {}))
    sessions: list[dict[str, Any]] = output(await visit.call("access.sessions.list", {}))["sessions"]
    factors = [one for one in have["factors"] if one["kind"] != "recovery"]
    left, csrf = len(have["factors"]) - len(factors), visit.csrf
    body = trouble(problem) + f"<p>You are <b>{escape(visit.principal.id)}</b>.</p>"
    if not factors:
        body += "<p>Choose a second factor now: a passkey, or a password together with one-time codes.</p>"
    rows = "".join(
        f"<tr><td>{escape(one['name'])}</td><td>{when(one['created_at'])}</td><td>"
        + form("/sign-in/you/remove", hidden("id", one["id"]), "Remove", csrf, quiet=True)
        + "</td></tr>"
        for one in factors
    )
    body += f"<h2>Second factors</h2><table>{rows}</table>" + passkey("you/passkey", "Add a passkey", YOU, csrf)
    body += form("/sign-in/you/totp", "", "Add one-time codes", csrf, quiet=True)
    if factors:
        body += f"<p>{left} recovery codes left.</p>"
        body += form("/sign-in/you/codes", "", "Make new recovery codes", csrf, quiet=True)
    body += "<h2>Password</h2>" + form(
        "/sign-in/you/password",
        text("password", "New password (12 characters or more)", "password", "new-password"),
        "Change the password" if have["password"] else "Set a password",
        csrf,
        quiet=True,
    )
    body += '<p><a href="/ui">To the console</a></p>'
    body += '<p><a href="/sign-in/approvals">What waits for a decision</a>, without it</p>'
    body += "<h2>Signed in</h2><table>" + "".join(_session(one, csrf) for one in sessions) + "</table>"
    return Page("Your sign-in", body + form("/sign-in/out", "", "Sign out", csrf), problem.status if problem else 200)


def _session(one: dict[str, Any], csrf: str) -> str:
    end = "this browser" if one["current"] else form(
        "/sign-in/you/sessions/end", hidden("id", one["id"]), "End", csrf, quiet=True
    )  # fmt: skip
    return f"<tr><td>{escape(one['client'] or 'a browser')}</td><td>{when(one['seen_at'])}</td><td>{end}</td></tr>"


@own
async def set_password(visit: Visit) -> Page:
    """`POST /sign-in/you/password`."""
    fields = await visit.form()
    return await _done(visit, "signin.password.set", {"password": fields.get("password", ""), "client": client(visit)})


@own
async def begin_totp(visit: Visit) -> Page:
    """`POST /sign-in/you/totp`: a new secret, and the form for its first code."""
    await visit.form()
    return _totp(visit, output(await visit.call("signin.totp.begin", {})), None)


def _totp(visit: Visit, begun: dict[str, str], problem: Problem | None) -> Page:
    secret = begun["secret"]
    shown = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    body = trouble(problem) + "<p>Put this secret into your authenticator, then type the code that it shows.</p>"
    body += (
        f'<p><code>{escape(shown)}</code></p><p><a href="{escape(begun["uri"])}">Open it in an authenticator</a></p>'
    )
    fields = "".join(hidden(name, begun[name]) for name in ("secret", "uri", "next"))
    fields += text("code", "Code", complete="one-time-code", focus=True)
    return Page("One-time codes", body + form("/sign-in/you/totp/add", fields, "Add", visit.csrf))


@own
async def add_totp(visit: Visit) -> Page:
    """`POST /sign-in/you/totp/add`."""
    fields = await visit.form()
    given = {"next": fields.get("next", ""), "code": fields.get("code", "") or "-", "client": client(visit)}
    outcome = await visit.call("signin.totp.add", given)
    if outcome.problem is not None and outcome.problem.slug == "conflict":
        return _totp(visit, {name: fields.get(name, "") for name in ("secret", "uri", "next")}, outcome.problem)
    return signed_in(visit, output(outcome), YOU)


@own
async def new_codes(visit: Visit) -> Page:
    """`POST /sign-in/you/codes`: recovery codes, shown once."""
    await visit.form()
    codes: list[str] = output(await visit.call("signin.codes.renew", {"client": client(visit)}))["codes"]
    items = "".join(f"<li><code>{escape(code)}</code></li>" for code in codes)
    body = (
        "<p>Each works once, in place of a second factor. Keep them where only you can see them.</p><ul class='codes'>"
    )
    return Page("Recovery codes", body + items + f'</ul><p><a href="{YOU}">Done</a></p>')


@own
async def remove(visit: Visit) -> Page:
    """`POST /sign-in/you/remove`."""
    fields = await visit.form()
    return await _done(visit, "signin.factors.remove", {"id": fields.get("id", ""), "client": client(visit)})


@own
async def end_session(visit: Visit) -> Page:
    """`POST /sign-in/you/sessions/end`."""
    return await _done(visit, "access.sessions.end", {"id": (await visit.form()).get("id", "")})


@own
async def out(visit: Visit) -> Page:
    """`POST /sign-in/out`."""
    await visit.form()
    output(await visit.call("signin.out", {"client": client(visit)}))
    return Page(to="/sign-in", cookies=[cookie(visit.secure, "", gone=True)])


@own
async def step_up(visit: Visit) -> Page:
    """`GET /sign-in/step-up`: show a second factor again."""
    return await _step_up(visit, local(visit.query.get("next", "")), None)


async def _step_up(visit: Visit, following: str, problem: Problem | None) -> Page:
    have = output(await visit.call("signin.factors.list", {}))
    kinds = {one["kind"] for one in have["factors"]}
    body = trouble(problem) + "<p>What you are about to do needs a fresh proof that it is you.</p>"
    if not kinds:
        body += "<p>You have no second factor yet: sign out, sign in again, and add one.</p>"
    if "passkey" in kinds:
        body += passkey("step-up/passkey", "Use a passkey", following, visit.csrf)
    if kinds & {"totp", "recovery"}:
        fields = text("code", "Code from your authenticator, or a recovery code", complete="one-time-code", focus=True)
        body += form("/sign-in/step-up", fields + hidden("next", following), "Go on", visit.csrf)
    return Page("Confirm that it is you", body, problem.status if problem else 200)


@own
async def stepped_up(visit: Visit) -> Page:
    """`POST /sign-in/step-up`."""
    fields = await visit.form()
    following = local(fields.get("next", ""))
    given = {"code": fields.get("code", "") or "-", "client": client(visit)}
    try:
        return signed_in(visit, output(await visit.call("signin.step_up", given)), following)
    except (Unauthenticated, RateLimited) as problem:
        return await _step_up(visit, following, problem)


@own
async def provider_linked(visit: Visit) -> Page:
    """`POST /sign-in/provider/linked`: the account of the identity provider, as the browser brought it back."""
    fields = await visit.form()
    given: dict[str, Any] = {"next": fields.pop("step", ""), "answer": fields, "client": client(visit)}
    made = signed_in(visit, output(await visit.call("signin.provider.linked", given)), YOU)
    return Page(to=made.to, cookies=[*made.cookies, away_cookie(visit, "", 0)])


@own
async def device(visit: Visit) -> Page:
    """`GET /sign-in/device`: a person confirms the code that a device shows (RFC 8628, 3.3)."""
    code = visit.query.get("user_code", "")
    if not code:
        fields = text("user_code", "Code that the device shows", focus=True)
        return Page(
            "A device wants to sign in", f'<form action="/sign-in/device">{fields}<button>Go on</button></form>'
        )
    shown = output(await visit.call("oauth.device.show", {"user_code": code}))
    scopes: list[str] = shown["scopes"]
    wants = "".join(f"<li><code>{escape(one)}</code></li>" for one in scopes)
    body = f"<p><b>{escape(shown['client_name'])}</b> (<code>{escape(shown['client'])}</code>) wants to act as you:</p>"
    body += f"<ul>{wants}</ul><p>Go on only if you started it yourself, and it shows this code:</p>"
    body += f"<p><code>{escape(code)}</code></p>"
    named = hidden("user_code", code)
    body += form("/sign-in/device", named + hidden("decision", "allow"), "Allow it", visit.csrf)
    body += form("/sign-in/device", named + hidden("decision", "deny"), "Refuse", visit.csrf, quiet=True)
    return Page("A device wants to sign in", body)


@own
async def device_decided(visit: Visit) -> Page:
    """`POST /sign-in/device`: allow or refuse."""
    fields = await visit.form()
    given = {"user_code": fields.get("user_code", ""), "allow": fields.get("decision") == "allow"}
    output(await visit.call("oauth.device.decide", given))
    said = "The device may go on." if given["allow"] else "The device was refused."
    return Page("Done", f"<p>{said} You can close this page.</p>")


async def _done(visit: Visit, operation: str, given: dict[str, Any]) -> Page:
    try:
        output(await visit.call(operation, given))
    except Problem as problem:
        if problem.slug in ("conflict", "invalid-input", "not-found"):
            return await _you(visit, problem)
        raise
    return Page(to=YOU)


def when(at: float) -> str:
    """Give a time as people read it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


ROUTES: dict[tuple[str, str], Callable[[Visit], Awaitable[Page]]] = {
    ("GET", "/you"): you,
    ("POST", "/you/password"): set_password,
    ("POST", "/you/totp"): begin_totp,
    ("POST", "/you/totp/add"): add_totp,
    ("POST", "/you/codes"): new_codes,
    ("POST", "/you/remove"): remove,
    ("POST", "/you/sessions/end"): end_session,
    ("POST", "/out"): out,
    ("GET", "/step-up"): step_up,
    ("POST", "/step-up"): stepped_up,
    ("POST", "/provider/linked"): provider_linked,
    ("GET", "/device"): device,
    ("POST", "/device"): device_decided,
}
