"""Clients, consents and signing keys: who may ask for tokens, what people agreed to, what tokens are signed with."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.runtime.oauth.authorization import Authorization
from superagent.sdk import Context, Effect, Grant, InvalidInput, Kept, NotFound, Nothing, Output, Plugin, Preview, Risk

Kind = Literal["service", "application"]
Scopes = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)]
Addresses = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=20)]


class Made(Output):
    """A new client; `secret` is shown this once, and None for a public one."""

    id: str
    secret: str | None
    workspace: str


class Client(Output):
    """A client, without its secret."""

    id: str
    name: str
    kind: str
    public: bool
    role: str | None
    scopes: list[str]
    redirects: list[str]
    flows: list[str]
    workspace: str
    created_by: str
    created_at: float
    revoked_at: float | None
    last_used_at: float | None
    hint: str


class Clients(Output):
    """The registered clients of a tenant, those that were deleted too."""

    clients: list[Client]


class Fresh(Output):
    """A client's new secret, shown this once; the one before is good until `overlap_s` is over."""

    id: str
    secret: str


class Consent(Output):
    """What a person lets a client do, until when."""

    id: str
    client: str
    client_name: str
    person: str
    scopes: list[str]
    resources: list[str]
    created_at: float
    expires_at: float


class Consents(Output):
    """What stands of what a person let clients do."""

    consents: list[Consent]


class KeyName(Output):
    """The name under which the new key is published."""

    kid: str


def plugin(service: Authorization) -> Plugin:
    """Make the plugin over the authorization service."""
    access = Plugin("clients")
    _clients(access, service)
    _consents(access, service)

    @access.operation(
        name="access.signing_keys.rotate", scope="instance", risk=Risk.HIGH, effect=Effect.CHANGE,
        irreversible="a key that signed is not taken up again; rotate once more",
    )  # fmt: skip
    async def rotate_key(ctx: Context) -> KeyName:
        """Sign access tokens with a new key from now on; those signed before stay good until they expire."""
        return KeyName(kid=service.signing.rotate())

    return access


def _clients(access: Plugin, service: Authorization) -> None:
    async def end(ctx: Context, kept: Kept) -> None:
        with suppress(NotFound):  # one that was deleted since is as it shall be
            await service.clients.delete(ctx.tenant, kept.data["id"])

    @access.operation(name="access.clients.create", risk=Risk.HIGH, effect=Effect.CHANGE, undo=end, compensate=True)
    async def create(
        ctx: Context,
        name: str,
        kind: Kind,
        scopes: Scopes | None = None,
        redirect_uris: Addresses | None = None,
        public: bool = False,
        device: bool = False,
        role: str | None = None,
        grants: list[Grant] | None = None,
    ) -> Made:
        """Register a client: a service that acts by itself, or an application that people let act for them."""
        _check(kind, redirect_uris, public, device, role, grants)
        async with ctx.keeping("client") as keep:
            if kind == "service":
                made = await service.clients.create_service(ctx, name, scopes or [], role, grants or [], keep)
            else:
                made = await service.clients.create_application(
                    ctx, name, scopes or ["*"], redirect_uris or [], public, device, keep
                )
        return Made(**made)

    @create.preview
    async def _(
        ctx: Context,
        name: str,
        kind: Kind,
        scopes: Scopes | None = None,
        redirect_uris: Addresses | None = None,
        public: bool = False,
        device: bool = False,
        role: str | None = None,
        grants: list[Grant] | None = None,
    ) -> Preview:
        _check(kind, redirect_uris, public, device, role, grants)
        return Preview(summary=f"would register the {kind} `{name[:100]}`")

    @access.operation(name="access.clients.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Clients:
        """List the registered clients of the tenant."""
        return Clients(clients=[Client(**one) for one in await service.clients.listed(ctx.tenant)])

    @access.operation(name="access.clients.show", risk=Risk.LOW, effect=Effect.READ)
    async def show(ctx: Context, id: str) -> Client:
        """Show one registered client."""
        return Client(**await service.clients.get(ctx.tenant, id))

    @access.operation(
        name="access.clients.rotate", risk=Risk.HIGH, effect=Effect.CHANGE,
        irreversible="the secret before is good until the overlap is over; rotate once more",
    )  # fmt: skip
    async def rotate(ctx: Context, id: str, overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 0) -> Fresh:
        """Give a client another secret; the one before stays good for a while, none by itself."""
        return Fresh(id=id, secret=await service.clients.rotate(ctx.principal, id, overlap_s))

    @access.operation(
        name="access.clients.delete", risk=Risk.HIGH, effect=Effect.DESTROY,
        irreversible="a deleted client stays deleted; register it anew",
    )  # fmt: skip
    async def delete(ctx: Context, id: str) -> Nothing:
        """End a client now, and every token it holds."""
        await service.clients.delete(ctx.tenant, id)
        return Nothing()

    @delete.preview
    async def _(ctx: Context, id: str) -> Preview:
        found = await service.clients.get(ctx.tenant, id)
        return Preview(summary=f"would end the {found['kind']} `{found['name']}` and every token it holds")


def _consents(access: Plugin, service: Authorization) -> None:
    @access.operation(name="access.consents.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Consents:
        """List what you let clients do."""
        found = await service.clients.consents(ctx.tenant, ctx.principal.id)
        return Consents(consents=[Consent(**one) for one in found])

    @access.operation(
        name="access.consents.revoke", risk=Risk.MEDIUM, effect=Effect.DESTROY,
        irreversible="the client has to ask you anew",
    )  # fmt: skip
    async def revoke(ctx: Context, id: str) -> Nothing:
        """End what you let a client do; its tokens are dead at once."""
        await service.desk.end(ctx.tenant, id, ctx.principal.id, "the person revoked it")
        return Nothing()

    @revoke.preview
    async def _(ctx: Context, id: str) -> Preview:
        return Preview(summary=f"would end the consent `{id[:100]}` and every token given by it")


def _check(
    kind: Kind, addresses: Any, public: bool, device: bool, role: str | None, grants: list[Grant] | None
) -> None:
    if kind == "service" and (addresses or public or device):
        raise InvalidInput("a service acts by itself: it has a secret, and neither redirect addresses nor a device")
    if kind == "application" and (role or grants):
        raise InvalidInput("an application may what the person behind it may, within its scopes; give it those alone")
    if any(one.subject or one.id for one in grants or []):
        raise InvalidInput("the grants of a client have no `subject` and no `id`: they are the client's own")
