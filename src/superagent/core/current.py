"""The call under way, as code can see it that is not handed a context: only to say who did something, never to permit.

It follows a call into the tasks it starts and into `ctx.thread`; a thread that somebody starts by hand has none.
"""

from __future__ import annotations

from contextvars import ContextVar

from superagent.core.invocation import Invocation

CALL: ContextVar[Invocation | None] = ContextVar("superagent_call", default=None)
