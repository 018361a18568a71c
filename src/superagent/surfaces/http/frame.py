"""The frame around the door: health, documentation, metrics, and honest answers for what is not built yet (FastAPI)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from superagent.core.kernel import Kernel
from superagent.core.principal import Principal
from superagent.core.problems import NotFound, Problem, Unavailable, every_problem
from superagent.surfaces.http.metrics import Metrics
from superagent.surfaces.http.openapi import document
from superagent.surfaces.http.reply import of_problem

Identify = Callable[[Request], Awaitable[Principal]]
Readiness = Callable[[], dict[str, str]]

# what the contract promises and no issue has brought yet: path, what will serve it
COMING = {
    "/mcp": "the Model Context Protocol door",
    "/a2a": "the Agent2Agent door",
    "/ui": "the console",
    "/oauth": "OAuth 2.1 authorization",
    "/.well-known": "authorization metadata and the agent card",
    "/compat": "the endpoints of GPT-API 4.0",
    "/openapi/actions.json": "the slices for GPT actions",
}
_DOCS = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Super-Agent API</title>
<style>body{font:16px/1.5 system-ui;max-width:46rem;margin:3rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em}</style>
<h1>Super-Agent API</h1><p>Every operation is <code>POST /v1/operations/{name}</code> with its input as the JSON body and
<code>Authorization: Bearer &lt;key&gt;</code>. The catalogue is at <code>GET /v1/operations?q=…</code>, one operation in full at
<code>GET /v1/operations/{name}</code>, the OpenAPI 3.1 document at <code>GET /openapi.json</code>; each shows what your key may use.</p>
<p>On this machine: <code>superagent ops</code> and <code>superagent describe NAME</code>.</p></html>"""


def frame(
    kernel: Kernel, identify: Identify, readiness: Readiness, metrics: Metrics, version: str, docs: Path | None = None
) -> FastAPI:
    """Make the FastAPI application behind the door."""
    app = FastAPI(title="Super-Agent", version=version, openapi_url=None, docs_url=None, redoc_url=None)

    @app.exception_handler(Problem)
    async def problem(request: Request, fault: Problem) -> Response:
        return as_response(fault)

    @app.exception_handler(HTTPException)
    async def missing(request: Request, fault: HTTPException) -> Response:
        path = request.url.path
        for prefix, what in COMING.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return as_response(
                    Unavailable(f"{what} is not part of this version yet", hint="see `/docs` for what is")
                )
        return as_response(NotFound(f"there is nothing at `{path[:200]}`", hint="see `/docs`"))

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    @app.get("/health/live")
    async def live() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/health/ready")
    async def ready() -> Response:
        troubled = [name for name, trouble in readiness().items() if trouble]
        # status words only: who is not signed in learns nothing about the inside
        return JSONResponse({"status": "failing" if troubled else "ok"}, 503 if troubled else 200)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        return HTMLResponse(_DOCS, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})

    @app.get("/problems/{slug}", include_in_schema=False)
    async def problem_page(slug: str) -> Response:
        for kind in every_problem():
            if kind.slug == slug:
                return PlainTextResponse(f"{kind.title()}\n\nHTTP {kind.status}\n{kind.default_hint or ''}\n")
        raise NotFound(f"there is no problem `{slug[:60]}`")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        principal = await identify(request)
        seen = kernel.registry.visible_to(principal, kernel.policy_of(principal))
        return JSONResponse(document(seen, version, str(request.base_url).rstrip("/")))

    @app.get("/metrics", include_in_schema=False)
    async def numbers(request: Request) -> Response:
        await identify(request)
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/llms.txt", include_in_schema=False)
    async def for_models(request: Request) -> Response:
        principal = await identify(request)
        seen = kernel.registry.visible_to(principal, kernel.policy_of(principal))
        lines = [f"- {one.name}: {one.summary} ({one.effect.name}, {one.risk.name})" for one in seen]
        head = "# Super-Agent\n\nPOST /v1/operations/{name} with the input as JSON. GET /v1/operations/{name} describes one.\n\n"
        return PlainTextResponse(head + "\n".join(lines) + "\n")

    return app


def as_response(problem: Problem) -> Response:
    """Give a problem as a Starlette response."""
    reply = of_problem(problem)
    return Response(reply.body, reply.status, {name.decode(): value.decode() for name, value in reply.headers})
