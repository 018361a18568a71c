"""Calling: one message becomes one call on the line, or several where the operation asks and is answered."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, InputRequiredResult
from msgspec.structs import replace

from superagent.core.invocation import Call, Outcome
from superagent.core.kernel import Kernel
from superagent.core.problems import InvalidInput, NeedsClient, NeedsInput
from superagent.surfaces.mcp.asked import Answering, Asked, Plain, able_of, modern
from superagent.surfaces.mcp.callers import CHANNEL, Caller
from superagent.surfaces.mcp.fixed import treated
from superagent.surfaces.mcp.going import carried, refused
from superagent.surfaces.mcp.naming import document_of
from superagent.surfaces.mcp.rounds import MOST_ROUNDS, Seal, answers_of, asked_now, lacks, required


class Calls:
    """Take what tools, prompts and resources mean through the line."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.seal = Seal(kernel)

    async def carry(
        self, asked: Asked | Plain, caller: Caller, call: Call, params: Answering
    ) -> Outcome | InputRequiredResult:
        """Make a call, and ask the client what the operation asks; a client that cannot be asked gets the problem.

        Raises `MCPError` for a state that was changed, and for a client that lacks what the operation needs.
        """
        if caller.session and not call.session:
            call = replace(call, session=caller.session)
        call = self._answered(caller, call, params)
        able = able_of(asked)
        outcome = await self._once(asked, caller, call, able)
        for _ in range(MOST_ROUNDS):
            problem = outcome.problem
            if isinstance(problem, NeedsClient) and modern(asked):
                raise lacks(problem)
            if not isinstance(problem, NeedsInput) or any(one.kind not in able for one in problem.asks):
                break
            if isinstance(asked, Plain) or modern(asked):
                return required(problem.asks, self.seal.put(caller.principal, call))
            answers = await asked_now(asked, problem.asks)
            if answers is None:
                break
            call = replace(call, answers=call.answers | answers)
            outcome = await self._once(asked, caller, call, able)
        return outcome

    def treated(self, asked: Asked, caller: Caller, call: Call) -> Call:
        """Give the call behind a resource or a prompt, treated as its message says. Raises `MCPError` for a fault."""
        try:
            return treated(call, asked.meta or {}, asked.params or {})
        except InvalidInput as problem:
            raise self._fault(caller, call, problem) from None

    def _fault(self, caller: Caller, call: Call, problem: InvalidInput) -> MCPError:
        outcome = refused(self._kernel, caller.principal, CHANNEL, call, problem, caller.trace)
        return MCPError(INVALID_PARAMS, problem.detail, document_of(outcome.problem or problem, outcome.invocation))

    async def _once(self, asked: Asked | Plain, caller: Caller, call: Call, able: tuple[str, ...]) -> Outcome:
        kernel = self._kernel
        return await carried(
            kernel, kernel.invocation(call, caller.principal, CHANNEL, trace=caller.trace, able=able), asked
        )

    def _answered(self, caller: Caller, call: Call, params: Answering) -> Call:
        answers = answers_of(params.input_responses)
        state = params.request_state
        if state is not None:
            before = self.seal.take(caller.principal, call, state) if self.seal.ours(state) else None
            if before is None:
                problem = InvalidInput("`requestState` was changed, is too old, or belongs to another call")
                raise self._fault(caller, call, problem)
            answers = before | answers
        return replace(call, answers=call.answers | answers) if answers else call
