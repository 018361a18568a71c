"""Sign-in as operations: the ways in, which strangers may call, and the step up within a session."""

from __future__ import annotations

from typing import Any

from superagent.core.context import Context
from superagent.core.operation import Nothing, Output
from superagent.core.plugin import Plugin
from superagent.core.principal import Secret
from superagent.core.resources import Effect, Risk
from superagent.core.secret_inputs import SecretText
from superagent.runtime.sign_in.desk import SignedIn, SignIn
from superagent.runtime.sign_in.enrolment import Enrolment
from superagent.runtime.sign_in.guard import Visitor
from superagent.runtime.sign_in.provider import Provider

PASSES = "a proof ends by itself within minutes, and with its key"
LASTS = "a session ends by itself, and `access.sessions.end` ends it before"


class Came(Output):
    """Who is in: the session's token, shown this once, or `next`, the token of the step that is still wanted."""

    session: str = ""
    next: str = ""
    person: str = ""
    tenant: str = ""
    ends_at: float = 0.0


class Proved(Output):
    """A token to act by in place of the key, shown this once, and until when it is good (epoch seconds)."""

    proof: str
    until: float


class Asked(Output):
    """What a browser's `navigator.credentials` gets, as JSON, and the token of the next step."""

    options: dict[str, Any]
    next: str


class Sent(Output):
    """Where the browser goes on, and what it must bring back in a cookie."""

    url: str
    next: str


def plugin(desk: SignIn, enrolment: Enrolment, provider: Provider) -> Plugin:
    """Make the plugin over the desks."""
    sign_in = Plugin("signin", reaches=("net",))
    _ways_in(sign_in, desk)
    _steps_up(sign_in, desk)
    _provided(sign_in, enrolment, provider)
    return sign_in


def _ways_in(sign_in: Plugin, desk: SignIn) -> None:
    @sign_in.operation(name="signin.password", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def password(
        ctx: Context,
        user: str,
        password: SecretText,
        tenant: str = "default",
        earlier: SecretText | None = None,
        client: str = "",
    ) -> Came:
        """Sign in by name and password; `next` comes back where a second factor is wanted."""
        got = await desk.by_password(tenant, user, password, visitor(ctx, client), _text(earlier))
        return Came(next=got) if isinstance(got, str) else came(got)

    @sign_in.operation(name="signin.code", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def code(ctx: Context, next: str, code: SecretText, client: str = "") -> Came:
        """Finish a sign-in by password with a one-time password or a recovery code."""
        return came(await desk.by_code(next, code.reveal(), visitor(ctx, client)))

    @sign_in.operation(name="signin.passkey.ask", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def ask(ctx: Context, origin: str) -> Asked:
        """Begin a sign-in by passkey."""
        options, following = await desk.ask_passkey(origin)
        return Asked(options=options, next=following)

    @sign_in.operation(name="signin.passkey", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def passkey(
        ctx: Context, next: str, response: SecretText, earlier: SecretText | None = None, client: str = ""
    ) -> Came:
        """Sign in by what a passkey answered."""
        return came(await desk.by_passkey(next, response.reveal(), visitor(ctx, client), _text(earlier)))

    @sign_in.operation(name="signin.link", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def link(ctx: Context, token: SecretText, earlier: SecretText | None = None, client: str = "") -> Came:
        """Sign in by a one-use link, such as the one that the first start prints."""
        return came(await desk.by_link(token.reveal(), visitor(ctx, client), _text(earlier)))


def _steps_up(sign_in: Plugin, desk: SignIn) -> None:
    @sign_in.operation(name="signin.step_up", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def step_up(ctx: Context, code: SecretText, client: str = "") -> Came:
        """Show a one-time or recovery code; the browser session goes on under a new token."""
        return came(await desk.step_up(ctx.principal, code.reveal(), visitor(ctx, client)))

    @sign_in.operation(name="signin.prove", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=PASSES, reaches=())
    async def prove(ctx: Context, code: SecretText) -> Proved:
        """Show a one-time or recovery code with a key of your own; gives a token that acts as the key with the factor.

        The token is good for five minutes, from the same address, and as long as the key.
        """
        got = await desk.prove(ctx.principal, code.reveal(), visitor(ctx, ""))
        return Proved(proof=got.token, until=got.until)

    @sign_in.operation(name="signin.step_up.ask", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def ask(ctx: Context, origin: str) -> Asked:
        """Begin a step up by passkey."""
        options, following = await desk.ask_passkey(origin, ctx.principal)
        return Asked(options=options, next=following)

    @sign_in.operation(name="signin.step_up.passkey", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS, reaches=())
    async def passkey(ctx: Context, next: str, response: SecretText, client: str = "") -> Came:
        """Show a passkey; the browser session goes on under a new token."""
        return came(await desk.step_up_by_passkey(ctx.principal, next, response.reveal(), visitor(ctx, client)))

    @sign_in.operation(name="signin.out", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="sign in again", reaches=())
    async def out(ctx: Context, client: str = "") -> Nothing:
        """End the browser session that this is called in."""
        await desk.out(ctx.principal, visitor(ctx, client))
        return Nothing()


def _provided(sign_in: Plugin, enrolment: Enrolment, provider: Provider) -> None:
    @sign_in.operation(name="signin.provider.begin", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS)
    async def begin(ctx: Context, origin: str, earlier: SecretText | None = None) -> Sent:
        """Begin a sign-in at the identity provider that the settings name."""
        url, following = await provider.begin(ctx.net, origin, None, _text(earlier))
        return Sent(url=url, next=following)

    @sign_in.operation(name="signin.provider", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS)
    async def finish(ctx: Context, next: str, answer: dict[str, str], client: str = "") -> Came:
        """Sign in by what the identity provider sent the browser back with."""
        return came(await provider.finish(ctx.net, next, answer, None, visitor(ctx, client)))

    @sign_in.operation(name="signin.provider.link", risk=Risk.LOW, effect=Effect.CHANGE, ephemeral=LASTS)
    async def link(ctx: Context, origin: str) -> Sent:
        """Begin to link your account at the identity provider, so that it lets you in from then on."""
        await enrolment.require_fresh(ctx.principal)
        url, following = await provider.begin(ctx.net, origin, ctx.principal, "")
        return Sent(url=url, next=following)

    @sign_in.operation(
        name="signin.provider.linked", risk=Risk.HIGH, effect=Effect.CHANGE,
        irreversible="`signin.provider.unlink` takes the account away again",
    )  # fmt: skip
    async def linked(ctx: Context, next: str, answer: dict[str, str], client: str = "") -> Came:
        """Link your account by what the identity provider sent the browser back with."""
        await enrolment.require_fresh(ctx.principal)
        return came(await provider.finish(ctx.net, next, answer, ctx.principal, visitor(ctx, client)))

    @sign_in.operation(
        name="signin.provider.unlink", risk=Risk.LOW, effect=Effect.CHANGE, reaches=(),
        irreversible="`signin.provider.link` links the account again",
    )  # fmt: skip
    async def unlink(ctx: Context) -> Nothing:
        """Let your account at the identity provider let you in no more."""
        await enrolment.require_fresh(ctx.principal)
        await provider.unlink(ctx.principal)
        return Nothing()


def came(got: SignedIn) -> Came:
    """Show who is in."""
    return Came(session=got.session.token, person=got.person, tenant=got.tenant, ends_at=got.session.ends_at)


def visitor(ctx: Context, client: str) -> Visitor:
    """Give from where a call comes."""
    return Visitor(ctx.principal.remote, client)


def _text(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
