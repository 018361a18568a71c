"""Problems: the one tree of what can go wrong (RFC 9457); a class's docstring is its message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Changed = Literal["nothing", "partly", "unknown"]


@dataclass(frozen=True, slots=True)
class Fix:
    """An operation that would cure the problem, ready to be called."""

    operation: str
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (a JSON path) and what."""

    path: str
    message: str


class Problem(Exception):
    """Something the caller should know about went wrong."""

    slug: ClassVar[str] = "problem"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str | None] = None

    def __init__(
        self,
        detail: str = "",
        *,
        hint: str | None = None,
        changed: Changed = "nothing",
        partly: Sequence[str] = (),
        fix: Fix | None = None,
        errors: Sequence[Fault] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint if hint is not None else self.default_hint
        self.changed: Changed = changed
        self.partly = tuple(partly)
        self.fix = fix
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    @classmethod
    def title(cls) -> str:
        """Give the short sentence that is the same for every occurrence."""
        return (cls.__doc__ or cls.slug).split("\n", 1)[0].rstrip(".")

    def document(self, invocation: str | None = None) -> dict[str, Any]:
        """Give the RFC 9457 object that every surface shows."""
        out: dict[str, Any] = {
            "type": f"/problems/{self.slug}",
            "title": self.title(),
            "status": self.status,
            "detail": self.detail or self.title(),
            "retryable": self.retryable,
            "changed": self.changed,
        }
        if invocation:
            out["instance"] = f"/v1/invocations/{invocation}"
            out["invocation"] = invocation
        if self.partly:
            out["partly"] = list(self.partly)
        if self.hint:
            out["hint"] = self.hint
        if self.fix:
            out["fix"] = {"operation": self.fix.operation, "input": self.fix.input}
        if self.errors:
            out["errors"] = [{"path": fault.path, "message": fault.message} for fault in self.errors]
        return out


class Malformed(Problem):
    """The request is not well-formed JSON of the expected shape."""

    slug, status = "malformed", 400
    default_hint = "send one JSON object in UTF-8, without duplicate keys, NaN or lone surrogates"


class Unauthenticated(Problem):
    """No valid credential came with the request."""

    slug, status = "unauthenticated", 401
    default_hint = "send `Authorization: Bearer <API key>` or `X-API-Key`"


class Denied(Problem):
    """Policy or the operating system refuses this."""

    slug, status = "denied", 403
    default_hint = "ask the owner of the tenant for a grant that covers this operation and resource"


class NeedsApproval(Problem):
    """This needs a person's approval, and waiting for one is not possible here."""

    slug, status = "needs-approval", 403
    default_hint = "call the operation by itself; it then waits for approval"


class NotFound(Problem):
    """There is no such thing, or you may not see it."""

    slug, status = "not-found", 404


class WrongMethod(Problem):
    """This address takes other methods."""

    slug, status = "wrong-method", 405

    def __init__(self, detail: str = "", *, allow: Sequence[str] = (), **more: Any) -> None:
        super().__init__(detail, **more)
        self.allow = tuple(allow)


class Conflict(Problem):
    """The present state is not the one this request was made for."""

    slug, status = "conflict", 409
    default_hint = "look at the present state, then decide again"


class IdempotencyMismatch(Problem):
    """This idempotency key was used before with another input."""

    slug, status = "idempotency-mismatch", 409
    default_hint = "use a fresh key for a different request"


class Cancelled(Problem):
    """The call was cancelled before it ended."""

    slug, status = "cancelled", 409


class TooLarge(Problem):
    """The request or what it would make is larger than the limit."""

    slug, status = "too-large", 413


class InvalidInput(Problem):
    """The input does not fit the operation's schema or the thing it names."""

    slug, status = "invalid-input", 422


class NeedsInput(Problem):
    """The operation asks its caller for something, and has done nothing yet."""

    slug, status = "needs-input", 422
    default_hint = (
        "repeat the call with `answers`, an object with a value for each name that is asked for: in a batch or a line "
        "of `/v1/stream`, in `run_operation`, in `_meta` of a tool call; a job is answered by `jobs.answer`"
    )

    def __init__(self, detail: str = "", *, asks: Sequence[Any] = (), **more: Any) -> None:
        super().__init__(detail, **more)
        # `core.questions.Question`, which is not imported here: the help of the command line must not wait for it
        self.asks: tuple[Any, ...] = tuple(asks)

    def document(self, invocation: str | None = None) -> dict[str, Any]:
        """Give the object with what is asked for."""
        return super().document(invocation) | {"asks": [one.document() for one in self.asks]}


class NeedsClient(Problem):
    """This needs a client that can do more than this one says it can."""

    slug, status = "needs-client", 422
    default_hint = "use a client that can do what `needs` names, and says so"

    def __init__(self, detail: str = "", *, needs: Sequence[str] = (), **more: Any) -> None:
        super().__init__(detail, **more)
        self.needs = tuple(needs)

    def document(self, invocation: str | None = None) -> dict[str, Any]:
        """Give the object with what is needed."""
        return super().document(invocation) | {"needs": list(self.needs)}


class Locked(Problem):
    """Another call is changing this resource now."""

    slug, status, retryable = "locked", 423, True


class StepUpRequired(Problem):
    """This needs a fresh second factor."""

    slug, status = "step-up-required", 428
    default_hint = (
        "show your second factor, then call again: in the browser at `/sign-in/step-up`; with a key of your own by "
        "`signin.prove`, whose token you then act by for five minutes; the command line asks for a code by itself"
    )


class RateLimited(Problem):
    """Too many calls in a short time."""

    slug, status, retryable = "rate-limited", 429, True


class BudgetExceeded(Problem):
    """The budget of this agent or key is used up."""

    slug, status = "budget-exceeded", 429
    default_hint = "`access.whoami` shows what is left of which budget"


class Internal(Problem):
    """Something broke that should not; the details are in the platform's log under this id."""

    slug, status = "internal", 500
    default_hint = "give the invocation id to whoever runs this installation"


class Broken(Exception):
    """Something broke in code that is not the platform's: the text is for the log, `told` for the caller."""

    def __init__(self, text: str, told: str) -> None:
        super().__init__(text)
        self.told = told


class Unavailable(Problem):
    """A part that this needs is missing or not working."""

    slug, status = "unavailable", 503


class SandboxUnavailable(Problem):
    """No isolation level that policy demands can be set up here."""

    slug, status = "sandbox-unavailable", 503


class Overloaded(Problem):
    """The platform has too much to do."""

    slug, status, retryable = "overloaded", 503, True


class AuditUnavailable(Problem):
    """The audit log cannot take the record, so nothing is done."""

    slug, status, retryable = "audit-unavailable", 503, True
    default_hint = "free space where the data folder lies, then see `/health/ready`"


class Deadline(Problem):
    """The call did not end in the time it was given."""

    slug, status, retryable = "deadline", 504, True


def every_problem() -> Iterator[type[Problem]]:
    """Give each kind of problem, for the documentation and the OpenAPI."""
    yield from sorted(Problem.__subclasses__(), key=lambda kind: (kind.status, kind.slug))
