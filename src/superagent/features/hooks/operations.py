"""Hooks: have an address told of each state of a job, until it ends."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import Context, Effect, Output, Plugin, Risk, SecretText, Url

Id = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$", description="the invocation of the job")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="a name for the hook")]
Shape = Literal["job", "a2a", "a2a-0.3"]
Address = Annotated[Url, Field(pattern=r"^https?://", max_length=2000)]
Scheme = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,39}$")]


class Store(Protocol):
    """Where hooks are kept, and what tells."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Tell while the body runs."""
        ...

    def create(self, ctx: Context, asked: Any) -> Awaitable[None]:
        """Make one, or change the one of that name. Raises `Denied`, `NotFound`, `Conflict`, `TooLarge`."""
        ...

    def listed(self, ctx: Context, invocation: str) -> Awaitable[list[tuple[str, Any]]]:
        """Give the caller's own hooks of a job."""
        ...

    def delete(self, ctx: Context, invocation: str, id: str) -> Awaitable[bool]:
        """Remove one of the caller's own; False when there was none."""
        ...

    def asked(self, invocation: str, id: str, url: str, shape: str, token: str, scheme: str, credentials: str) -> Any:
        """Put together what a hook is to be. Raises `InvalidInput` for what no header can carry."""
        ...


class Hook(Output):
    """A hook; what it shows to the address is never given back."""

    invocation: str
    id: str
    url: str
    shape: Shape
    shows: bool


class Listed(Output):
    hooks: list[Hook]


class Gone(Output):
    removed: bool


def plugin(store: Store) -> Plugin:
    """Make the plugin over the hooks of this installation."""
    hooks = Plugin("hooks")
    hooks.lifespans.append(store.lifespan)

    @hooks.operation(
        name="jobs.hooks.create",
        risk=Risk.MEDIUM,
        effect=Effect.CHANGE,
        ephemeral="it ends with its job, and `jobs.hooks.delete` ends it before",
        returns_untrusted="never",  # nothing of what the address answers is given to anybody
    )
    async def create(
        ctx: Context,
        id: Id,
        url: Address,
        name: Name = "hook",
        shape: Shape = "job",
        token: SecretText | None = None,
        scheme: Scheme = "Bearer",
        credentials: SecretText | None = None,
    ) -> Hook:
        """Have an address told of each state of a job of yours, by POST, until it has ended.

        Told is the state and nothing else: no input, no output. `token` goes into `X-A2A-Notification-Token`, `scheme`
        and `credentials` into `Authorization`. Only public addresses are told, and only those that you may reach; what
        does not arrive is tried again five times within half an hour.
        """
        shown = token.reveal() if token is not None else ""
        proof = credentials.reveal() if credentials is not None else ""
        await store.create(ctx, store.asked(id, name, url, shape, shown, scheme if proof else "", proof))
        return Hook(invocation=id, id=name, url=url, shape=shape, shows=bool(shown or proof))

    @hooks.operation(name="jobs.hooks.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context, id: Id) -> Listed:
        """List your hooks of a job."""
        found = await store.listed(ctx, id)
        return Listed(
            hooks=[
                Hook(invocation=id, id=name, url=one.url, shape=one.shape, shows=bool(one.token or one.authorization))
                for name, one in found
            ]
        )

    @hooks.operation(
        name="jobs.hooks.delete",
        risk=Risk.LOW,
        effect=Effect.CHANGE,
        ephemeral="nothing more is told; the hook can be made again",
    )
    async def delete(ctx: Context, id: Id, name: Name = "hook") -> Gone:
        """Have an address told no more; deleting what is not there does nothing."""
        return Gone(removed=await store.delete(ctx, id, name))

    return hooks
