"""Routes of OAuth: from HTTP to operations and back; nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from superagent.core.invocation import Outcome
from superagent.core.mounts import Receive, Scope, Send, Visit, answer, not_here, visit_of
from superagent.core.problems import Malformed, Problem
from superagent.core.strict_json import parse_object
from superagent.features.oauth import pages
from superagent.sdk import Plugin

_JSON = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
]
_KNOWN = "/.well-known"
SIGN_IN = "/sign-in"


def mount(oauth: Plugin) -> None:
    """Hang the routes on the plugin."""
    oauth.mount("/oauth", _oauth, public=True)
    oauth.mount(f"{_KNOWN}/oauth-authorization-server", _server, public=True)
    oauth.mount(f"{_KNOWN}/oauth-protected-resource", _resource, public=True)
    oauth.mount(f"{_KNOWN}/jwks.json", _keys, public=True)


async def _server(scope: Scope, receive: Receive, send: Send) -> None:
    await _document(visit_of(scope), send, "server")


async def _resource(scope: Scope, receive: Receive, send: Send) -> None:
    await _document(visit_of(scope), send, "resource", visit_of(scope).path)


async def _keys(scope: Scope, receive: Receive, send: Send) -> None:
    await _document(visit_of(scope), send, "keys")


async def _document(visit: Visit, send: Send, document: str, path: str = "") -> None:
    if visit.method != "GET" or (visit.path and document != "resource"):
        raise not_here(visit.method, visit.path)
    asked = {"document": document, "origin": visit.origin, "path": path.rstrip("/")}
    outcome = await visit.call_as_stranger("oauth.metadata", asked)
    await _send(send, 200, _done(outcome)["document"])


async def _oauth(scope: Scope, receive: Receive, send: Send) -> None:
    visit = visit_of(scope)
    if visit.path == "/authorize" and visit.method in ("GET", "POST"):
        await _authorize(visit, send)
        return
    serve = _POSTS.get(visit.path) if visit.method == "POST" else None
    if serve is None:
        raise not_here(visit.method, f"/oauth{visit.path}")
    await serve(visit, send)


# ---- programs


async def _token(visit: Visit, send: Send) -> None:
    fields = await _form(visit)
    named = {name: fields.get(name, "")[:300] for name in ("grant_type", "client_id")}
    await _answer(visit, send, await visit.call_as_stranger("oauth.token", _shown(visit, fields) | named))


async def _introspect(visit: Visit, send: Send) -> None:
    outcome = await visit.call_as_stranger("oauth.introspect", _shown(visit, await _form(visit)))
    await _answer(visit, send, outcome, inside="document")


async def _revoke(visit: Visit, send: Send) -> None:
    await _answer(visit, send, await visit.call_as_stranger("oauth.revoke", _shown(visit, await _form(visit))))


async def _device(visit: Visit, send: Send) -> None:
    fields = await _form(visit)
    asked = _shown(visit, fields) | {"client_id": fields.get("client_id", "")[:300]}
    await _answer(visit, send, await visit.call_as_stranger("oauth.device.start", asked))


async def _register(visit: Visit, send: Send) -> None:
    outcome = await visit.call_as_stranger("oauth.register", {"client": parse_object(await visit.body())})
    await _answer(visit, send, outcome, inside="document", status=201)


_POSTS = {
    "/token": _token,
    "/introspect": _introspect,
    "/revoke": _revoke,
    "/device_authorization": _device,
    "/register": _register,
}


async def _form(visit: Visit) -> dict[str, str]:
    if visit.query:
        raise Malformed("what is asked here stands in the body", hint="a secret in an address is seen by others")
    return await visit.form()


def _shown(visit: Visit, fields: Mapping[str, str]) -> dict[str, Any]:
    """Give what every one of these operations takes: the form and the header as secrets, and how we were reached."""
    out: dict[str, Any] = {"origin": visit.origin, "form": urlencode(fields) or "-"}
    header = visit.headers.get(b"authorization", b"").decode("latin-1")
    return out | ({"authorization": header} if header else {})


async def _answer(visit: Visit, send: Send, outcome: Outcome, *, inside: str = "", status: int = 200) -> None:
    problem = outcome.problem
    if problem is None:
        output: dict[str, Any] = outcome.plain()["output"] or {}
        body = output[inside] if inside else {name: value for name, value in output.items() if value is not None}
        await _send(send, status, body)
        return
    faults = {one.path: one.message for one in problem.errors}
    if "error" not in faults:
        raise problem
    body = {name: faults[name] for name in ("error", "error_description") if name in faults}
    if faults["error"] != "invalid_client" or b"authorization" not in visit.headers:
        await _send(send, 400, body)
    else:  # RFC 6749, 5.2: whoever tried by a header is told of the scheme
        await _send(send, 401, body, [(b"www-authenticate", b'Basic realm="superagent", error="invalid_client"')])


async def _send(send: Send, status: int, body: Any, more: list[tuple[bytes, bytes]] | None = None) -> None:
    await answer(send, status, json.dumps(body).encode(), [*_JSON, *(more or [])])


def _done(outcome: Outcome) -> dict[str, Any]:
    if outcome.problem is not None:
        raise outcome.problem
    return outcome.plain()["output"]


# ---- people


async def _authorize(visit: Visit, send: Send) -> None:
    if visit.method == "GET":
        asked, decided = visit.query, ""
    else:
        if visit.query:
            raise Malformed("what is asked here stands in the form")
        form = await visit.form()
        asked, decided = dict(parse_qsl(form.get("request", ""), keep_blank_values=True)), form.get("decision", "")
    if visit.stranger:
        await _sign_in(send, "/oauth/authorize", asked)
        return
    call: dict[str, Any] = {"origin": visit.origin, "request": asked}
    if not decided:
        outcome = await visit.call("oauth.consent", call)
        if outcome.problem is None:
            found = outcome.plain()["output"]
            await _page(send, 200, pages.consent(found, urlencode(asked), visit.csrf), found["target"])
            return
    else:
        outcome = await visit.call("oauth.authorize", call | {"allow": decided == "allow"})
        if outcome.problem is None:
            await _go(send, outcome.plain()["output"]["location"])
            return
    await _refused(send, outcome.problem)


async def _sign_in(send: Send, path: str, asked: Mapping[str, str]) -> None:
    there = f"{path}?{urlencode(asked)}"
    await _go(send, f"{SIGN_IN}?{urlencode({'next': there})}")


async def _refused(send: Send, problem: Problem) -> None:
    """Send the browser back with the error where the address is known to be the client's; else say it here."""
    faults = {one.path: one.message for one in problem.errors}
    if "location" in faults:
        await _go(send, faults["location"])
    else:
        await _page(send, problem.status if "error" not in faults else 400, pages.refusal(problem.detail))


async def _go(send: Send, location: str) -> None:
    await answer(send, 303, b"", [*pages.HEADERS, (b"location", location.encode("ascii", "replace"))])


async def _page(send: Send, status: int, text: str, target: str = "") -> None:
    await answer(send, status, text.encode(), [*pages.HEADERS, pages.policy(target)])
