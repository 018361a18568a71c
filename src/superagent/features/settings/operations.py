"""Settings: what is set, where each value comes from, and changing it in the settings file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from superagent.sdk import Context, Effect, Kept, Output, Plugin, Preview, Resource, Risk


class Store(Protocol):
    """Where settings live."""

    def listed(self) -> list[tuple[str, Any, str, Any]]:
        """Give (name, value, origin, value from the next start on or None); the value of a secret one is hidden."""
        ...

    def current(self, name: str) -> Any:
        """Give what the settings file says, None for nothing. Raises `NotFound`."""
        ...

    def check(self, name: str, value: Any) -> Awaitable[None]:
        """Refuse what `write` would refuse, and change nothing."""
        ...

    def write(self, name: str, value: Any, keep: Callable[[Any], Awaitable[None]] | None = None) -> Awaitable[None]:
        """Write one setting to the file, None to take it out; `keep` is given before that what it replaces.

        Raises `NotFound`, `InvalidInput`, `Locked`.
        """
        ...


class Setting(Output):
    """One setting and where its value comes from: default, file, environment or flag.

    `from_next_start` is what the settings file says by now, where that is another value; else None.
    """

    name: str
    value: Any
    origin: str
    from_next_start: Any = None


class Settings(Output):
    """Every setting."""

    settings: list[Setting]


class Written(Output):
    """What was written; it counts from the next start."""

    name: str
    value: Any
    restart: bool = True


def plugin(store: Store) -> Plugin:
    """Make the plugin over the settings of this installation."""
    settings = Plugin("settings")

    @settings.operation(name="settings.list", risk=Risk.LOW, effect=Effect.READ, scope="instance")
    async def list_(ctx: Context) -> Settings:
        """List every setting with its value and where that comes from."""
        return Settings(
            settings=[
                Setting(name=name, value=value, origin=origin, from_next_start=other)
                for name, value, origin, other in store.listed()
            ]
        )

    async def back(ctx: Context, kept: Kept) -> None:
        await store.write(kept.data["name"], kept.data["value"])

    @settings.operation(name="settings.set", risk=Risk.HIGH, effect=Effect.CHANGE, scope="instance", undo=back)
    async def set_(ctx: Context, name: str, value: Any) -> Written:
        """Write one setting to the settings file; it counts from the next start. `null` takes it out."""

        async def keep(before: Any) -> None:
            await ctx.keep(Resource("setting", "-", name, Effect.CHANGE), {"name": name, "value": before})

        await store.write(name, value, keep)
        return Written(name=name, value=value)

    @set_.preview
    async def _(ctx: Context, name: str, value: Any) -> Preview:
        await store.check(name, value)
        before = store.current(name)
        was = "its default" if before is None else repr(before)
        new = "its default" if value is None else repr(value)
        return Preview(
            summary=f"would set {name} from {was} to {new} at the next start", changes=[f"setting://-/{name}"]
        )

    return settings
