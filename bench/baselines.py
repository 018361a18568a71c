"""Baselines: what others write by default, served the way we are, so that a ratio means something.

The environment is read here because uvicorn imports these applications by name in a process of its own.
"""

from __future__ import annotations

import os
import secrets
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/v1/operations/access.whoami"
ANSWER = b'{"output":{"id":"owner","kind":"human","tenant":"default","roles":["owner"]},"status":"done"}'
KEY = os.environ.get("BENCH_KEY") or secrets.token_urlsafe(32)


async def bare(request: Request) -> Response:
    """Answer the same bytes to everybody: no key, no validation, no record, the body not even read."""
    del request
    return Response(ANSWER, media_type="application/json")


async def reading(request: Request) -> Response:
    """Do the same after reading the body."""
    await request.body()
    return Response(ANSWER, media_type="application/json")


starlette = Starlette(routes=[Route(PATH, bare, methods=["POST"])])
starlette_reading = Starlette(routes=[Route(PATH, reading, methods=["POST"])])


class Nothing(BaseModel):
    """The input of the operation: an object without fields."""

    model_config = ConfigDict(extra="forbid")


def caller(authorization: Annotated[str, Header()] = "") -> str:
    """Check the key as most applications do: in a dependency."""
    if not secrets.compare_digest(authorization.encode(), f"Bearer {KEY}".encode()):
        raise HTTPException(401, "unknown key")
    return "owner"


fastapi = FastAPI()


@fastapi.post(PATH, response_model=None)
def whoami(body: Nothing, who: Annotated[str, Depends(caller)]) -> dict[str, Any]:
    """Say who calls: a `def` endpoint with a `def` dependency; without a response model, which would cost more."""
    del body
    return {"id": who, "kind": "human", "tenant": "default", "roles": ["owner"]}
