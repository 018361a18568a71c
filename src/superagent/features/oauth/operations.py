"""OAuth: what programs ask the authorization server for, and what people answer; all of it operations of the line."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from superagent.features.oauth.routes import mount
from superagent.runtime.oauth import metadata, redirects
from superagent.runtime.oauth.authorization import Authorization
from superagent.sdk import (
    Context,
    Denied,
    Effect,
    InvalidInput,
    Nothing,
    Output,
    Plugin,
    Principal,
    Risk,
    Secret,
    SecretText,
    Unavailable,
)

Origin = Annotated[str, Field(max_length=300)]
Asked = Annotated[
    dict[str, Annotated[str, Field(max_length=4000, pattern=r"^[^\x00-\x1f\x7f]*$")]], Field(max_length=32)
]
SHORT = "tokens live for minutes, and end with what was consented to"


class Document(Output):
    document: dict[str, Any]


class Tokens(Output):
    """What goes back to the client, as RFC 6749, 5.1 has it."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None = None


class Asking(Output):
    """Who asks for what, as the person should see it before agreeing."""

    client: str
    client_name: str
    document: str
    redirect: str
    target: str
    local: bool
    scopes: list[str]
    tenant: str


class Back(Output):
    """Where the person's browser goes with the answer."""

    location: str


class Device(Output):
    client: str
    client_name: str
    scopes: list[str]


class Codes(Output):
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


def plugin(authorization: Authorization) -> Plugin:
    """Make the plugin over the authorization service, with its routes."""
    oauth = Plugin("oauth", reaches=("net",))
    _for_programs(oauth, authorization)
    _for_people(oauth, authorization)
    mount(oauth)
    return oauth


def _for_programs(oauth: Plugin, service: Authorization) -> None:
    @oauth.operation(risk=Risk.LOW, effect=Effect.READ, reaches=())
    async def metadata_(
        ctx: Context, document: Literal["server", "resource", "keys"], origin: Origin, path: str = ""
    ) -> Document:
        """Describe the authorization server, a protected resource, or the keys that tokens are signed with."""
        issuer = service.site.issuer(origin)
        if document == "keys":
            return Document(document=service.signing.published())
        if document == "resource":
            if not service.site.named(issuer + path):
                raise InvalidInput("there is no such resource here")
            return Document(document=metadata.of_resource(issuer, path))
        return Document(document=metadata.of_server(issuer, service.registration))

    @oauth.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, ephemeral=SHORT, reaches=())
    async def token(
        ctx: Context,
        origin: Origin,
        form: SecretText,
        authorization: SecretText | None = None,
        grant_type: str = "",
        client_id: str = "",
    ) -> Tokens:
        """Give tokens to a client that shows a code, a refresh token, a device code, or who it is (RFC 6749, 3.2)."""
        fields = _fields(form)
        _same(fields, grant_type=grant_type, client_id=client_id)
        return Tokens(**await service.desk.token(origin, fields, _text(authorization)))

    @oauth.operation(risk=Risk.LOW, effect=Effect.READ, reaches=())
    async def introspect(
        ctx: Context, origin: Origin, form: SecretText, authorization: SecretText | None = None
    ) -> Document:
        """Tell a client that shows its secret what a token is good for (RFC 7662)."""
        asked = service.desk.endpoint("introspection", origin, _fields(form), _text(authorization))
        return Document(document=await asked)

    @oauth.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, irreversible="ask the person to consent anew", reaches=())
    async def revoke(
        ctx: Context, origin: Origin, form: SecretText, authorization: SecretText | None = None
    ) -> Nothing:
        """End a client's own token, and all tokens of the same consent (RFC 7009)."""
        await service.desk.endpoint("revocation", origin, _fields(form), _text(authorization))
        return Nothing()

    @oauth.operation(
        name="oauth.device.start",
        risk=Risk.LOW,
        effect=Effect.CHANGE,
        ephemeral="codes live for ten minutes",
        reaches=(),
    )
    async def start(
        ctx: Context, origin: Origin, form: SecretText, authorization: SecretText | None = None, client_id: str = ""
    ) -> Codes:
        """Give a device a code for itself, and one that a person types in elsewhere (RFC 8628, 3.1)."""
        fields = _fields(form)
        _same(fields, client_id=client_id)
        return Codes(**await service.desk.endpoint("device_authorization", origin, fields, _text(authorization)))

    @oauth.operation(
        risk=Risk.MEDIUM, effect=Effect.CHANGE, ephemeral="a client that nobody uses goes after a day", reaches=()
    )
    async def register(ctx: Context, client: dict[str, Any]) -> Document:
        """Let a client register itself, where the settings allow that (RFC 7591)."""
        if not service.registration:
            raise Unavailable(
                "clients do not register themselves here",
                hint="use a Client ID Metadata Document, or have one registered with `access.clients.create`",
            )
        return Document(document=await service.register(client))


def _for_people(oauth: Plugin, service: Authorization) -> None:
    async def described(ctx: Context, asked: dict[str, str]) -> Any:
        address = asked.get("client_id", "")
        return await service.documents.client(ctx, address) if "://" in address else None

    @oauth.operation(risk=Risk.LOW, effect=Effect.READ)
    async def consent(ctx: Context, origin: Origin, request: Asked) -> Asking:
        """Show who asks to act for you, what for, and where the answer would go (RFC 6749, 4.1.1)."""
        person = _person(ctx)
        found = await service.desk.asked(origin, request, person, await described(ctx, request))
        client, scopes, back = found
        return Asking(
            client=client.id, client_name=client.name, document=client.document, redirect=redirects.shown(back),
            target=redirects.target(back), local=redirects.is_local(back), scopes=scopes.split(), tenant=person.tenant,
        )  # fmt: skip

    @oauth.operation(risk=Risk.HIGH, effect=Effect.CHANGE, irreversible="end it with `access.consents.revoke`")
    async def authorize(ctx: Context, origin: Origin, request: Asked, allow: bool) -> Back:
        """Let a client act for you within its scopes, or tell it that you do not."""
        client = await described(ctx, request)
        return Back(location=await service.desk.decided(origin, request, _person(ctx), client, allow))

    @oauth.operation(name="oauth.device.show", risk=Risk.LOW, effect=Effect.READ, reaches=())
    async def show(ctx: Context, user_code: str) -> Device:
        """Show what the device asks for that gave you this code (RFC 8628, 3.3)."""
        return Device(**await service.desk.device(user_code, _person(ctx)))

    @oauth.operation(
        name="oauth.device.decide",
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        irreversible="end it with `access.consents.revoke`",
        reaches=(),
    )
    async def decide(ctx: Context, user_code: str, allow: bool = False) -> Nothing:
        """Let the device that gave you this code act for you, or not."""
        await service.desk.decide_device(user_code, _person(ctx), allow)
        return Nothing()


def _person(ctx: Context) -> Principal:
    """Give the person who acts, by itself and by nobody else's hand."""
    who = ctx.principal
    if who.kind != "human" or who.on_behalf_of is not None:
        raise Denied("only a person decides what may act for it", hint="sign in, and look at it yourself")
    return who


def _fields(form: Secret) -> dict[str, str]:
    try:
        pairs = parse_qsl(form.reveal(), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise InvalidInput("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInput("a field of the form came twice")
    if not all(one.isprintable() for one in (*fields, *fields.values())):
        raise InvalidInput("the form holds characters that nothing of OAuth has")
    return {name: value for name, value in fields.items() if value}  # RFC 6749, 3.2: empty is left out


def _same(fields: dict[str, str], **named: str) -> None:
    """Go on only if what the record shows of a form is what stands in it."""
    for name, value in named.items():
        if value != fields.get(name, "")[:300]:
            raise InvalidInput(f"`{name}` is another than in the form")


def _text(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""
