"""Scoping: a token that lacks a scope for what a message asks is told which, before anything of the answer is sent.

So is whoever says of a whole message that it is a dry run, which the protocol does not know and the SDK leaves aside.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from superagent.core.calls import refuse_slips
from superagent.core.invocation import Call
from superagent.core.kernel import Kernel
from superagent.core.mounts import Message, Receive, Visit
from superagent.core.problems import Denied, InvalidInput, Problem
from superagent.core.reading import Reading
from superagent.core.scopes import ShortOfScope, lacking
from superagent.surfaces.mcp.callers import CHANNEL
from superagent.surfaces.mcp.naming import operation_of

FEW_BYTES = 4096
"""In so few there is nothing that takes long."""

_LOOKED_AT = frozenset({"jsonrpc", "id", "method", "params"})


async def checked(kernel: Kernel, visit: Visit, reading: Reading) -> Receive:
    """Give the body once more, read and looked at. Raises `ShortOfScope`; that is in the audit then.

    Only tokens have scopes. A long body of anybody is first read by the strict rules of all doors, in a thread. Raises
    `Malformed` for what does not fit them, `InvalidInput` for a dry run that would be left aside.
    """
    if visit.method != "POST":
        return visit.receive
    body = await visit.body()
    said = await reading.object(visit.principal, body) if len(body) > FEW_BYTES else _message(body)
    _refuse_slips(kernel, visit, said)
    if visit.principal.bounds is not None and _shows_token(visit):
        _check(kernel, visit, said)
    return replayed(body, visit.receive)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _shows_token(visit: Visit) -> bool:
    """Tell whether an access token is shown (a JWT, RFC 9068), and not a key with bounds, which has no scopes."""
    scheme, _, value = visit.headers.get(b"authorization", b"").partition(b" ")
    return scheme.lower() == b"bearer" and value.lstrip().startswith(b"ey")


def _message(body: bytes) -> dict[str, Any]:
    """Give a message; an empty one for what is none, which is refused further in."""
    try:
        message: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return cast("dict[str, Any]", message) if isinstance(message, dict) else {}


def _refuse_slips(kernel: Kernel, visit: Visit, said: dict[str, Any]) -> None:
    try:
        refuse_slips(said, "$", _LOOKED_AT)
    except InvalidInput as problem:
        outcome = kernel.refused(
            Call(str(said.get("method"))[:200], {}), visit.principal, CHANNEL, problem, visit.trace
        )
        raise outcome.problem or problem from None


def _check(kernel: Kernel, visit: Visit, said: dict[str, Any]) -> None:
    params: Any = said.get("params")
    method: Any = said.get("method")
    if not isinstance(method, str) or not isinstance(params, dict):
        return
    name = operation_of(kernel.registry, method, cast("dict[str, Any]", params))
    operation = kernel.find(name)
    if operation is None:
        return
    scope = lacking(visit.principal, operation, kernel.policy_of(visit.principal))
    if not scope:
        return
    problem: Problem = Denied(f"this token lacks the scope `{scope}`")
    outcome = kernel.refused(Call(name, {}), visit.principal, CHANNEL, problem, visit.trace)
    if outcome.problem is not None and outcome.problem is not problem:
        raise outcome.problem  # it asks too often
    raise ShortOfScope(scope, outcome.invocation)
