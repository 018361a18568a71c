"""Enrolment and sessions as operations: what you prove yourself by, and the browsers that you are signed in with."""

from __future__ import annotations

from typing import Any

from superagent.core.context import Context
from superagent.core.operation import Nothing, Output, Preview
from superagent.core.plugin import Plugin
from superagent.core.problems import NotFound
from superagent.core.resources import Effect, Risk
from superagent.core.secret_inputs import SecretText
from superagent.features.sign_in.operations import Asked, Came, came, visitor
from superagent.runtime.sign_in.desk import SignIn
from superagent.runtime.sign_in.enrolment import Enrolment
from superagent.runtime.sign_in.sessions import Sessions

ME = "me"
AGAIN = "it can be set anew, and the former one is known to nobody"
_STEP = "the step is over in five minutes"


class Factor(Output):
    """One thing that you prove yourself by, without anything secret."""

    id: str
    kind: str
    name: str
    created_at: float
    used_at: float | None


class Factors(Output):
    """All of them."""

    factors: list[Factor]
    password: bool


class Totp(Output):
    """A new one-time password: its secret, as text and as the address that authenticators read; shown this once."""

    secret: str
    uri: str
    next: str


class Codes(Output):
    """Recovery codes, each good for one use; shown this once."""

    codes: list[str]


class Session(Output):
    """One browser that somebody is signed in with; `mfa_at` is when a second factor was last shown in it."""

    id: str
    way: str
    client: str
    created_at: float
    seen_at: float
    mfa_at: float | None
    ends_at: float
    current: bool


class Open(Output):
    """The browser sessions of a person."""

    sessions: list[Session]


class Invitation(Output):
    """A link by which a new user comes in for the first time: a path here, good once and for an hour."""

    path: str


def plugin(enrolment: Enrolment, sessions: Sessions, desk: SignIn) -> Plugin:
    """Make the plugin over the stores."""
    enrols = Plugin("enrols")
    _look(enrols, enrolment)
    _password(enrols, enrolment)
    _totp(enrols, enrolment)
    _passkeys(enrols, enrolment)
    _sessions(enrols, sessions)
    _invites(enrols, desk)
    return enrols


def _look(enrols: Plugin, enrolment: Enrolment) -> None:
    @enrols.operation(name="signin.factors.list", risk=Risk.LOW, effect=Effect.READ)
    async def listed(ctx: Context) -> Factors:
        """List what you prove yourself by: passkeys, one-time passwords, recovery codes left."""
        rows, has = await enrolment.listed(ctx.principal)
        return Factors(factors=[Factor(**row) for row in rows], password=has)

    @enrols.operation(
        name="signin.factors.remove", risk=Risk.HIGH, effect=Effect.DESTROY, irreversible="enrol the factor again"
    )
    async def remove(ctx: Context, id: str, client: str = "") -> Nothing:
        """Take one of your factors away; your other sessions end."""
        await enrolment.remove(ctx.principal, id, visitor(ctx, client))
        return Nothing()

    @remove.preview
    async def _(ctx: Context, id: str, client: str = "") -> Preview:
        rows, _ = await enrolment.listed(ctx.principal)
        if id not in {row["id"] for row in rows}:
            raise NotFound(f"there is no factor `{id[:60]}`")
        return Preview(summary=f"would take the factor `{id}` away, and end your other sessions")


def _password(enrols: Plugin, enrolment: Enrolment) -> None:
    @enrols.operation(name="signin.password.set", risk=Risk.HIGH, effect=Effect.CHANGE, irreversible=AGAIN)
    async def set_(ctx: Context, password: SecretText, client: str = "") -> Nothing:
        """Set your password; your other sessions end."""
        await enrolment.set_password(ctx.principal, password, visitor(ctx, client))
        return Nothing()

    @enrols.operation(name="signin.codes.renew", risk=Risk.HIGH, effect=Effect.CHANGE, irreversible=AGAIN)
    async def codes(ctx: Context, client: str = "") -> Codes:
        """Make fresh recovery codes; all earlier ones are void."""
        return Codes(codes=await enrolment.new_codes(ctx.principal, visitor(ctx, client)))


def _totp(enrols: Plugin, enrolment: Enrolment) -> None:
    @enrols.operation(name="signin.totp.begin", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=_STEP)
    async def begin(ctx: Context) -> Totp:
        """Begin to enrol a one-time password: put the secret into your authenticator."""
        secret, uri, following = await enrolment.begin_totp(ctx.principal)
        return Totp(secret=secret, uri=uri, next=following)

    @enrols.operation(
        name="signin.totp.add",
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        irreversible="`signin.factors.remove` removes it",
    )
    async def add(ctx: Context, next: str, code: SecretText, client: str = "") -> Came:
        """Enrol it by the first code; your session goes on under a new token."""
        return came(await enrolment.add_totp(ctx.principal, next, code.reveal(), visitor(ctx, client)))


def _passkeys(enrols: Plugin, enrolment: Enrolment) -> None:
    @enrols.operation(name="signin.passkeys.begin", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=_STEP)
    async def begin(ctx: Context, origin: str) -> Asked:
        """Begin to enrol a passkey at the address under which your browser is here."""
        options, following = await enrolment.begin_passkey(ctx.principal, origin)
        return Asked(options=options, next=following)

    @enrols.operation(
        name="signin.passkeys.add",
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        irreversible="`signin.factors.remove` removes it",
    )
    async def add(ctx: Context, next: str, response: SecretText, name: str = "", client: str = "") -> Came:
        """Enrol the passkey that your browser made; your session goes on under a new token."""
        got = await enrolment.add_passkey(ctx.principal, next, response.reveal(), name, visitor(ctx, client))
        return came(got)


def _sessions(enrols: Plugin, sessions: Sessions) -> None:
    @enrols.operation(name="access.sessions.list", risk=Risk.LOW, effect=Effect.READ)
    async def listed(ctx: Context, user: str = ME) -> Open:
        """List the browsers that you, or another user, are signed in with."""
        rows = await sessions.listed(ctx.tenant, _whose(ctx, user))
        shown = Session.model_fields.keys() - {"current"}
        plain = [({name: getattr(row, name) for name in shown}, row.id == ctx.principal.key) for row in rows]
        return Open(sessions=[_session(values, current) for values, current in plain])

    @enrols.operation(name="access.sessions.end", risk=Risk.LOW, effect=Effect.DESTROY, irreversible="sign in again")
    async def end(ctx: Context, id: str, user: str = ME) -> Nothing:
        """End a browser session, yours or another user's; every worker refuses it within a second."""
        await sessions.end(ctx.tenant, _whose(ctx, user), id)
        return Nothing()

    @end.preview
    async def _(ctx: Context, id: str, user: str = ME) -> Preview:
        found = await sessions.listed(ctx.tenant, _whose(ctx, user))
        if id not in {row.id for row in found}:
            raise NotFound(f"there is no session `{id[:60]}`", hint="`access.sessions.list` shows them")
        return Preview(summary=f"would end the session `{id}`")


def _invites(enrols: Plugin, desk: SignIn) -> None:
    @enrols.operation(
        name="access.users.invite", risk=Risk.HIGH, effect=Effect.CHANGE, ephemeral="the link is void after an hour"
    )
    async def invite(ctx: Context, user: str) -> Invitation:
        """Make a link by which a user who cannot sign in yet comes in once, to choose how from then on."""
        return Invitation(path=f"/sign-in/link/{await desk.invite(ctx.principal, user)}")


def _session(values: dict[str, Any], current: bool) -> Session:
    return Session(**values, current=current)


def _whose(ctx: Context, user: str) -> str:
    human = ctx.principal.human
    return human.id if user == ME and human is not None else user
