"""The frame behind the door: health, documentation, metrics, and honest answers for what is not built yet (FastAPI)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from superagent.core.kernel import Kernel
from superagent.core.operation import Operation
from superagent.core.principal import Principal
from superagent.core.problems import Internal, NotFound, Problem, Unavailable, every_problem
from superagent.surfaces.http.actions import actions
from superagent.surfaces.http.gate import Gate
from superagent.surfaces.http.metrics import Metrics
from superagent.surfaces.http.openapi import document
from superagent.surfaces.http.reply import of_problem

Readiness = Callable[[], dict[str, str]]

# what the contract promises and no issue has brought yet: what will serve it, and whether it needs no key
COMING = {
    "/compat": ("the endpoints of GPT-API 4.0", False),
}
_SAFE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_SERVER = b'"servers":[{"url":%s}]'
_NO_SERVER = _SERVER % b'""'
_DOCS = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Super-Agent API</title>
<style>body{font:16px/1.5 system-ui;max-width:46rem;margin:3rem auto;padding:0 1rem}
code{background:#8882;padding:.1em .3em}</style>
<h1>Super-Agent API</h1><p>Every operation is <code>POST /v1/operations/{name}</code> with its input as the JSON body
and <code>Authorization: Bearer &lt;key&gt;</code>. The catalogue is at <code>GET /v1/operations?q=…</code>, one
operation in full at <code>GET /v1/operations/{name}</code>, the OpenAPI 3.1 document at <code>GET /openapi.json</code>;
each shows what your key may use.</p>
<p>On this machine: <code>superagent ops</code> and <code>superagent describe NAME</code>.</p></html>"""
_FOR_MODELS = """# Super-Agent

> One API through which AI agents safely operate computers: every call is judged and recorded, many are undone.

POST /v1/operations/{name} with the input as JSON and `Authorization: Bearer KEY`. GET /v1/operations/{name} describes
one, GET /v1/operations?q=WORDS finds some. X-Dry-Run: true shows what a call would do. A status `waiting` needs a
person; GET /v1/invocations/{id} says what became of it, POST /v1/invocations/{id}/undo takes it back.

## Doors

- [OpenAPI 3.1](/openapi.json): all that this key may use
- [GPT Actions](/openapi/actions.json): at most 30 operations, chosen by `?toolsets=files,shell.run`
- [MCP](/mcp): the Model Context Protocol over Streamable HTTP

## Operations

"""


def frame(kernel: Kernel, gate: Gate, readiness: Readiness, metrics: Metrics, version: str) -> FastAPI:
    """Make the FastAPI application behind the door."""
    app = FastAPI(
        title="Super-Agent", version=version, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )

    async def seen_by(request: Request) -> tuple[Principal, list[Operation]]:
        principal = await gate.admit(request.scope)
        return principal, kernel.registry.visible_to(principal, kernel.policy_of(principal))

    @app.exception_handler(Problem)
    async def problem(request: Request, fault: Problem) -> Response:
        return as_response(fault)

    @app.exception_handler(Exception)
    async def broken(request: Request, bug: Exception) -> Response:
        id = kernel.hands.clock.new_id()
        kernel.hands.fault(id, bug)
        return as_response(Internal("something broke inside the platform"), id)

    @app.exception_handler(HTTPException)
    async def missing(request: Request, fault: HTTPException) -> Response:
        path = request.url.path
        coming = [what for prefix, what in COMING.items() if path == prefix or path.startswith(f"{prefix}/")]
        what, public = coming[0] if coming else ("", False)
        if not public:
            try:
                await gate.admit(request.scope)
            except Problem as refusal:
                return as_response(refusal)
        if what:
            return as_response(Unavailable(f"{what} is not part of this version yet", hint="see `/docs` for what is"))
        return as_response(NotFound(f"there is nothing at `{path[:200]}`", hint="see `/docs`"))

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    @app.get("/health/live")
    async def live() -> Response:
        return JSONResponse({"status": "ok"}, headers=_SAFE)

    @app.get("/health/ready")
    async def ready() -> Response:
        troubled = [name for name, trouble in readiness().items() if trouble]
        # status words only: who is not signed in learns nothing about the inside
        return JSONResponse({"status": "failing" if troubled else "ok"}, 503 if troubled else 200, _SAFE)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(_DOCS, headers=_SAFE | policy)

    @app.get("/problems/{slug}", include_in_schema=False)
    async def problem_page(slug: str) -> Response:
        for kind in every_problem():
            if kind.slug == slug:
                text = f"{kind.title()}\n\nHTTP {kind.status}\n{kind.default_hint or ''}\n"
                return PlainTextResponse(text, headers=_SAFE)
        raise NotFound(f"there is no problem `{slug[:60]}`")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        _, seen = await seen_by(request)
        url = msgspec.json.encode(str(request.base_url).rstrip("/"))
        body = _written(tuple(seen), version).replace(_NO_SERVER, _SERVER % url, 1)
        return Response(body, media_type="application/json", headers=_SAFE)

    @app.get("/openapi/actions.json", include_in_schema=False)
    async def for_actions(request: Request, toolsets: str = "") -> Response:
        _, seen = await seen_by(request)
        wanted = [one.strip() for one in toolsets[:2000].split(",") if one.strip()]
        return JSONResponse(actions(seen, wanted, version, str(request.base_url).rstrip("/")), headers=_SAFE)

    @app.get("/metrics", include_in_schema=False)
    async def numbers(request: Request) -> Response:
        principal, seen = await seen_by(request)
        # a count tells what others do: only those see it who may also read it in the audit
        audit = kernel.registry.find("audit.query")
        knows = audit is not None and kernel.policy_of(principal).may_try(principal, audit)
        text = metrics.text({one.name for one in seen}) if knows else "superagent_up 1\n"
        return PlainTextResponse(text, headers=_SAFE, media_type="text/plain; version=0.0.4")

    @app.get("/llms.txt", include_in_schema=False)
    async def for_models(request: Request) -> Response:
        _, seen = await seen_by(request)
        lines = [f"- {one.name}: {one.summary} ({one.effect.name}, {one.risk.name})\n" for one in seen]
        return PlainTextResponse(_FOR_MODELS + "".join(lines), headers=_SAFE)

    return app


@lru_cache(8)
def _written(operations: tuple[Operation, ...], version: str) -> bytes:
    """Write the OpenAPI document, without the server's address: it takes long, and many see the same."""
    return msgspec.json.encode(document(operations, version, ""))


def as_response(problem: Problem, invocation: str = "") -> Response:
    """Give a problem as a Starlette response."""
    reply = of_problem(problem, invocation)
    return Response(reply.body, reply.status, {name.decode(): value.decode() for name, value in reply.headers})
