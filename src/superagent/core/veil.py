"""Veil: what becomes of a call's secret inputs on the line: hidden, told apart by a keyed mark, put away sealed."""

from __future__ import annotations

from msgspec.structs import replace

from superagent.core.invocation import Invocation, digest_of
from superagent.core.operation import Operation
from superagent.core.ports import Veil
from superagent.core.principal import Secret
from superagent.core.secret_inputs import BLANK


def hidden(invocation: Invocation, operation: Operation) -> Invocation:
    """Give a call whose secret inputs cannot be shown by accident."""
    secret = {alias for _, alias in operation.secrets}
    input = {
        name: Secret(value) if name in secret and isinstance(value, str) else value
        for name, value in invocation.call.input.items()
    }
    return replace(invocation, call=replace(invocation.call, input=input))


def marked_digest(invocation: Invocation, veil: Veil) -> str:
    """Give the digest of an input of which nothing can be guessed.

    The mark holds the principal: comparing the records of two callers must not tell that they gave the same value.
    """
    principal, call = invocation.principal, invocation.call
    answers = {"": call.answers} if call.answers else {}
    about = (principal.tenant, principal.id, call.operation)
    return digest_of(
        {
            name: veil.mark((*about, name), value) if isinstance(value, Secret) else value
            for name, value in call.input.items()
        }
        | answers
    )


def put_away(invocation: Invocation, veil: Veil) -> tuple[Invocation, dict[str, bytes]]:
    """Part a call that has to wait: as everybody may see it, and its secret inputs, sealed for this very call."""
    secret = {name: value for name, value in invocation.call.input.items() if isinstance(value, Secret)}
    if not secret:
        return invocation, {}
    shown = invocation.call.input | dict.fromkeys(secret, BLANK)
    sealed = {name: veil.seal(_place(invocation, name), value) for name, value in secret.items()}
    return replace(invocation, call=replace(invocation.call, input=shown)), sealed


def taken_out(invocation: Invocation, sealed: dict[str, bytes], veil: Veil) -> Invocation:
    """Join what `put_away` parted. Raises `Denied` when a sealed value was changed or belongs to another call."""
    if not sealed:
        return invocation
    secret = {name: veil.open(_place(invocation, name), value) for name, value in sealed.items()}
    return replace(invocation, call=replace(invocation.call, input=invocation.call.input | secret))


def _place(invocation: Invocation, name: str) -> tuple[str, ...]:
    return invocation.principal.tenant, invocation.id, invocation.call.operation, name
