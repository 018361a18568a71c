"""Telling: problems as errors of the protocol, and what has none there as an answer of HTTP (RFC 9457)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from a2a.server.context import ServerCallContext
from a2a.utils.errors import A2AError, InternalError, InvalidParamsError, TaskNotFoundError

from superagent.core.invocation import Call, Outcome
from superagent.core.kernel import Kernel
from superagent.core.problems import InvalidInput, Malformed, NotFound, Problem
from superagent.surfaces.a2a.callers import CALLER, CHANNEL, Caller

T = TypeVar("T")


def caller_of(context: ServerCallContext) -> Caller:
    """Give who asks. A tenant that is named must be the caller's own: it is the key that says which."""
    caller = context.state[CALLER]
    assert isinstance(caller, Caller)
    if context.tenant and context.tenant != caller.principal.tenant:
        raise InvalidParamsError("this tenant is not the one of your key", {"hint": "leave `tenant` out"})
    return caller


class Refused(Exception):
    """The line refused what a request came down to, and has recorded that."""

    def __init__(self, problem: Problem, invocation: str) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.invocation = invocation


def done(outcome: Outcome) -> Outcome:
    """Give an outcome that is no refusal. Raises `Refused`."""
    if outcome.problem is not None:
        raise Refused(outcome.problem, outcome.invocation)
    return outcome


class Telling:
    """Run what answers a request, so that whatever goes wrong is recorded and told in the protocol's words."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def one(self, context: ServerCallContext, name: str, work: Awaitable[T]) -> T:
        """Give what `work` gives. Raises `A2AError` only."""
        try:
            return await work
        except Exception as fault:
            raise self._error(context, name, fault) from None

    async def stream(self, context: ServerCallContext, name: str, work: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """Give what `work` gives, one by one. Raises `A2AError` only."""
        try:
            async with aclosing(work):
                async for one in work:
                    yield one
        except Exception as fault:
            raise self._error(context, name, fault) from None

    def _error(self, context: ServerCallContext, name: str, fault: Exception) -> A2AError:
        if isinstance(fault, A2AError):
            self._record(context, name, InvalidInput(fault.message))
            return fault
        if isinstance(fault, Refused):
            return self._told(context, fault.problem, fault.invocation)
        if not isinstance(fault, Problem):
            id = self._kernel.hands.clock.new_id()
            self._kernel.hands.fault(id, fault)
            return InternalError("something broke inside the platform", {"invocation": id})
        return self._told(context, fault, self._record(context, name, fault))

    def _told(self, context: ServerCallContext, problem: Problem, invocation: str) -> A2AError:
        details = _details(problem, invocation)
        if isinstance(problem, NotFound):
            return TaskNotFoundError(problem.detail, details)
        if isinstance(problem, InvalidInput | Malformed):
            return InvalidParamsError(problem.detail, details)
        context.state[CALLER].aside.append(problem)
        return InternalError(problem.detail, details)

    def _record(self, context: ServerCallContext, name: str, problem: Problem) -> str:
        """Record a request that was refused before, or beside, the line; what the line refused is recorded there."""
        caller = context.state[CALLER]
        try:
            return self._kernel.refused(Call(name, {}), caller.principal, CHANNEL, problem, caller.trace).invocation
        except Problem:
            return ""


def _details(problem: Problem, invocation: str) -> dict[str, Any]:
    """Give what is told with an error: texts only, as `google.rpc.ErrorInfo` wants it."""
    document = problem.document(invocation or None)
    wanted = ("type", "detail", "hint", "invocation")
    details: dict[str, Any] = {name: str(document[name]) for name in wanted if document.get(name)}
    if problem.errors:
        details["errors"] = [{"field": one.path, "message": one.message} for one in problem.errors[:20]]
    return details
