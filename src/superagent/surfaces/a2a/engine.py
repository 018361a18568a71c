"""The engine: the SDK's bindings, JSON-RPC and HTTP+JSON, in 1.0 and 0.3, over one handler."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from a2a.extensions.common import HTTP_EXTENSION_HEADER, get_requested_extensions
from a2a.server.context import ServerCallContext
from a2a.server.routes import create_jsonrpc_routes, create_rest_routes
from a2a.server.routes.common import ServerCallContextBuilder
from starlette.requests import Request
from starlette.routing import Route, Router

from superagent.core.kernel import Kernel
from superagent.core.mounts import App, Receive, Scope, Send, not_here
from superagent.surfaces.a2a.callers import CALLER
from superagent.surfaces.a2a.cards import Cards, Signing
from superagent.surfaces.a2a.handler import Tasks
from superagent.surfaces.a2a.looking import Listing, Looking


class Engine:
    """What the door loads when the first request comes."""

    def __init__(self, kernel: Kernel, listing: Listing, keys: Signing, closing: asyncio.Event, prefix: str) -> None:
        # whatever is wrong with a request is in the record; a log of each is what an attacker fills a disk with
        logging.getLogger("a2a").setLevel(logging.CRITICAL)
        self.cards = Cards(keys)
        handler = Tasks(kernel, Looking(kernel, listing, closing), self.cards)
        context = _Context()
        rpc = [
            one
            for path in (prefix, f"{prefix}/")
            for one in create_jsonrpc_routes(handler, path, context, enable_v0_3_compat=True)
        ]
        rest = create_rest_routes(handler, context, enable_v0_3_compat=True, path_prefix=prefix)
        # the tenant is the key's: there are no paths that name another
        routes = [*rpc, *(one for one in rest if isinstance(one, Route))]
        self.app: App = Router(routes, redirect_slashes=False, default=_nothing)


class _Context(ServerCallContextBuilder):
    def build(self, request: Request) -> ServerCallContext:
        state: dict[str, Any] = {"headers": dict(request.headers), CALLER: request.scope[CALLER]}
        wished = get_requested_extensions(request.headers.getlist(HTTP_EXTENSION_HEADER))
        return ServerCallContext(state=state, requested_extensions=wished)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise not_here(scope["method"], scope["path"])
