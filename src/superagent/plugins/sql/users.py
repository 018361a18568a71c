"""Operations on the accounts of a database server. Passwords are named as secrets, and never shown or kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Connection,
    Context,
    Denied,
    Effect,
    Kept,
    NotFound,
    Output,
    Preview,
    Resource,
    Risk,
    SecretName,
)

from .engine.names import Named, Refused
from .engine.session import Session
from .indexes import TableName, table_named
from .line import database_of, opened, resource_of, sql, told, working

AccountName = Annotated[str, Field(min_length=1, max_length=128, description="`name`, on MariaDB `name@host`")]
Privilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
Privileges = Annotated[list[Privilege], Field(min_length=1, max_length=4)]


class TableGrant(Output):
    """What an account may do with a table."""

    table: str
    privileges: list[str]


class User(Output):
    """An account: `powers` says that it may do more than its grants on tables say, such as make accounts itself.

    `max_connections` is None for any number; `grants` leaves out tables that you may not read.
    """

    account: str
    login: bool
    max_connections: int | None
    powers: bool
    grants: list[TableGrant]


class Users(Output):
    """Accounts in order of their names."""

    users: list[User]


class Account(Output):
    """An account as a change left it."""

    account: str
    said: str


@sql.operation(risk=Risk.LOW, effect=Effect.READ)
async def users(ctx: Context, connection: Connection) -> Users:
    """List the accounts of a database server, and what they may do with the tables that you may read."""
    from .engine.accounts import accounts

    async with opened(ctx, connection) as session:

        def look() -> Any:
            session.begin(writes=False)
            return accounts(session)

        found = await working(ctx, session, look)
    return Users(
        users=[
            User(
                account=one.name,
                login=one.login,
                max_connections=one.most if one.most > 0 else None,
                powers=one.powers,
                grants=[
                    TableGrant(table=resource.id, privileges=list(privileges))
                    for table, privileges in sorted(one.grants.items())
                    if ctx.may(resource := resource_of(connection, table))
                ],
            )
            for name, one in sorted(found.items())
            if ctx.may(_account(connection, name, Effect.READ))
        ]
    )


@users.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [database_of(values["connection"], Effect.READ)]


@sql.operation(risk=Risk.CRITICAL, effect=Effect.CHANGE)
async def user_create(
    ctx: Context, connection: Connection, account: AccountName, password: SecretName | None = None
) -> Account:
    """Make an account that may do nothing yet; without a password nobody can open the database as it."""
    from .engine import accounts

    connected = await ctx.secret.connection(connection)
    async with opened(ctx, connection) as session:
        await _standing(ctx, session, account, there=False)
        value = (await ctx.secret.resolve(f"secret:{password}", host=connected.host)).reveal() if password else ""
        await _keep(ctx, connection, account, {"does": "create"})
        await _made(ctx, session, lambda: accounts.create(session, account, value))
    return Account(account=account, said="made, with a password" if password else "made, and closed to everybody")


@sql.operation(risk=Risk.CRITICAL, effect=Effect.CHANGE)
async def user_alter(
    ctx: Context,
    connection: Connection,
    account: AccountName,
    login: bool | None = None,
    max_connections: Annotated[int, Field(ge=0, le=100_000)] | None = None,
) -> Account:
    """Open or close the database to an account, or bound its connections (0 for any number)."""
    from .engine import accounts

    async with opened(ctx, connection) as session:
        was = await _standing(ctx, session, account)
        any_number = -1 if session.dialect == "postgres" else 0
        most = was.most if max_connections is None else max_connections or any_number
        opens = was.login if login is None else login
        await _keep(
            ctx, connection, account,
            {"does": "alter", "was": [was.login, was.most], "now": [opens, most]},
        )  # fmt: skip
        await _made(ctx, session, lambda: accounts.alter(session, account, opens, most))
    return Account(account=account, said=f"{'open' if opens else 'closed'}, at most {most if most > 0 else 'any'}")


@sql.operation(risk=Risk.CRITICAL, effect=Effect.CHANGE, irreversible="nobody knows the password that was there before")
async def user_password(ctx: Context, connection: Connection, account: AccountName, password: SecretName) -> Account:
    """Give an account another password, which is a secret named here; the server is sent only what it keeps of it."""
    from .engine import accounts

    connected = await ctx.secret.connection(connection)
    async with opened(ctx, connection) as session:
        await _standing(ctx, session, account)
        value = (await ctx.secret.resolve(f"secret:{password}", host=connected.host)).reveal()
        await working(ctx, session, lambda: accounts.set_password(session, account, value))
    return Account(account=account, said="it has another password")


@sql.operation(risk=Risk.CRITICAL, effect=Effect.DESTROY, compensate=True)
async def user_drop(ctx: Context, connection: Connection, account: AccountName) -> Account:
    """Drop an account that has no rights and owns nothing; undo makes it again, closed and without a password."""
    from .engine import accounts

    async with opened(ctx, connection) as session:
        was = await _droppable(ctx, session, account)
        await _keep(ctx, connection, account, {"does": "drop", "was": [was.login, was.most]}, Effect.DESTROY)
        await _made(ctx, session, lambda: accounts.drop(session, account))
    return Account(account=account, said="dropped")


@user_drop.preview
async def _(ctx: Context, connection: Connection, account: AccountName) -> Preview:
    async with opened(ctx, connection) as session:
        await _droppable(ctx, session, account)
    id = _account(connection, account, Effect.DESTROY).id
    return Preview(summary=f"would drop `{id}`", changes=[id], exact=False)


@sql.operation(risk=Risk.CRITICAL, effect=Effect.CHANGE)
async def user_grant(
    ctx: Context, connection: Connection, account: AccountName, table: TableName, privileges: Privileges
) -> Account:
    """Give an account rights on a table; whoever gives them needs the same there. Undo takes back what is new."""
    return await _move(ctx, connection, account, table, privileges, gives=True)


@sql.operation(risk=Risk.CRITICAL, effect=Effect.CHANGE)
async def user_revoke(
    ctx: Context, connection: Connection, account: AccountName, table: TableName, privileges: Privileges
) -> Account:
    """Take rights on a table away from an account. Undo gives back those that it had."""
    return await _move(ctx, connection, account, table, privileges, gives=False)


def _one(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [_account(values["connection"], values["account"], Effect.CHANGE)]


def _both(values: dict[str, Any], workspace: str) -> list[Resource]:
    found = _one(values, workspace)
    table = table_named(values["table"])
    effects = {Effect.READ if one == "SELECT" else Effect.CHANGE for one in values["privileges"]}
    return found + [resource_of(values["connection"], table, one) for one in sorted(effects)]


@user_drop.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [_account(values["connection"], values["account"], Effect.DESTROY)]


async def _take_back(ctx: Context, kept: Kept) -> None:
    from .engine import accounts

    data = kept.data
    name, account = str(data["connection"]), str(data["account"])
    if (await ctx.secret.connection(name)).endpoint != data["endpoint"]:
        raise Conflict(f"`{name}` leads elsewhere since", hint="let it lead there again, then undo")
    async with opened(ctx, name) as session:

        def work() -> str:
            now = accounts.accounts(session).get(account)
            if data["does"] == "create":
                if now is not None and (now.grants or now.powers or now.bound):
                    return "it has been given rights since"
                if now is not None:
                    accounts.drop(session, account)
            elif data["does"] == "drop":
                if now is None:
                    accounts.create(session, account, "")
            elif now is None:
                return "it is gone"
            elif data["does"] == "alter":
                if [now.login, now.most] not in (data["now"], data["was"]):
                    return "somebody changed it since"
                accounts.alter(session, account, *data["was"])
            else:
                table = Named(*data["table"])
                has = set(now.grants.get(table, ()))
                if data["does"] == "grant":
                    accounts.take(session, account, table, sorted(has & set(data["rights"])))
                else:
                    accounts.give(session, account, table, sorted(set(data["rights"]) - has))
            return ""

        if why := await working(ctx, session, work):
            raise Conflict(f"`{kept.resource}`: {why}", hint="look with `sql.users`")


for _declared in (user_create, user_alter, user_password):
    _declared.touches(_one)
for _declared in (user_grant, user_revoke):
    _declared.touches(_both)
for _declared in (user_create, user_alter, user_drop, user_grant, user_revoke):
    _declared.undo(_take_back)


async def _move(
    ctx: Context, connection: str, account: str, table: str, privileges: list[Privilege], *, gives: bool
) -> Account:
    from .engine import accounts

    named, wanted = table_named(table), sorted(set(privileges))
    async with opened(ctx, connection) as session:
        was = await _standing(ctx, session, account)
        if named not in await working(ctx, session, lambda: {one for one, _, _ in session.columns()}):
            raise NotFound(f"there is no `{named.path}`", hint="`sql.schema` shows the tables that you may read")
        has = set(was.grants.get(named, ()))
        rights = [one for one in wanted if (one not in has) == gives]
        await _keep(
            ctx, connection, account,
            {"does": "grant" if gives else "revoke", "table": [named.schema, named.name], "rights": rights},
        )  # fmt: skip

        def work() -> bool:
            (accounts.give if gives else accounts.take)(session, account, named, rights)
            # a server that does not let this account give it may only warn
            now = set(accounts.accounts(session)[account].grants.get(named, ()))
            return (set(rights) <= now) if gives else not (set(rights) & now)

        if not await _made(ctx, session, work):
            ctx.effects.clear()
            raise Conflict("the server left its rights as they were", hint="the connection's account may not give them")
    verb = "has" if gives else "has no longer"
    return Account(account=account, said=f"{verb} {', '.join(rights) or 'nothing else'} on `{named.path}`")


async def _standing(ctx: Context, session: Session, account: str, *, there: bool = True) -> Any:
    """Give an account that may be changed by this session. Raises `Denied`, `Conflict`, `NotFound`."""
    from .engine import accounts

    def look() -> tuple[Any, bool]:
        accounts.checked(account, session.dialect)
        return accounts.accounts(session).get(account), accounts.own_account(session) == account

    found, own = await working(ctx, session, look)
    if not there:
        if found is not None:
            raise Conflict(f"there is an account `{account}` already", hint="`sql.users` shows it")
        return None
    if found is None:
        raise NotFound(f"there is no account `{account}`", hint="`sql.users` shows those that you may see")
    if own or found.powers:
        why = "is what this connection itself uses" if own else "may do more than tables say"
        await told(ctx, _refuse(f"`{account}` {why}, and is not changed here"))
    return found


async def _droppable(ctx: Context, session: Session, account: str) -> Any:
    found = await _standing(ctx, session, account)
    if found.grants or found.bound:
        await told(ctx, _refuse(f"`{account}` still has rights, which would be lost with it"))
    return found


async def _made(ctx: Context, session: Session, work: Callable[[], Any]) -> Any:
    """Make the change, which is one statement: what the server refuses has not happened."""
    try:
        return await working(ctx, session, work)
    except (Conflict, Denied):
        ctx.effects.clear()
        raise


async def _refuse(message: str) -> None:
    raise Refused(message, "nothing was changed")


async def _keep(
    ctx: Context, connection: str, account: str, data: dict[str, Any], effect: Effect = Effect.CHANGE
) -> None:
    endpoint = (await ctx.secret.connection(connection)).endpoint
    await ctx.keep(
        _account(connection, account, effect),
        {"connection": connection, "endpoint": endpoint, "account": account, **data},
    )


def _account(connection: str, account: str, effect: Effect) -> Resource:
    from .engine.accounts import path_of

    return Resource("sql", connection.replace("/", "%2F"), path_of(account), effect)
