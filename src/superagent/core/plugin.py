"""Plugins: what contributes operations, and the hooks that are collected when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from superagent.core.connections import ConnectionTest, ConnectionType, Shows
from superagent.core.faces import PLAIN, Face
from superagent.core.mounts import App, Mount
from superagent.core.operation import Declared, Example, Input, Operation, Scope
from superagent.core.ports import Keeper
from superagent.core.resources import Effect, Risk
from superagent.core.taint import Sends, Untrusted

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class Plugin:
    """A named set of operations. `reaches` is what they may ask their context for (`files`, `net`, `run` …)."""

    def __init__(self, name: str, *, reaches: tuple[str, ...] = ()) -> None:
        self.name = name
        self.reaches = reaches
        self.keepers: dict[str, Keeper] = {}
        self.connections: dict[str, ConnectionType] = {}
        self.observers: list[Callable[[object], None]] = []
        self.lifespans: list[Lifespan] = []
        self.declared: list[Declared] = []
        self.mounts: list[Mount] = []

    def operation(
        self,
        name: str = "",
        *,
        risk: Risk,
        effect: Effect | None = None,
        scope: Scope = "tenant",
        idempotent: bool = False,
        inline: bool = False,
        atomic: bool = False,
        undo: Callable[..., Any] | None = None,
        compensate: bool = False,
        ephemeral: str = "",
        irreversible: str = "",
        timeout_s: float = 60.0,
        reaches: tuple[str, ...] | None = None,
        examples: tuple[Example, ...] = (),
        version: int = 1,
        background: bool = False,
        shows_keys: bool = False,
        returns_untrusted: Untrusted | None = None,
        sends: Sends = False,
        face: Face = PLAIN,
        asks: str = "",
        resumes: bool = False,
    ) -> Callable[[Callable[..., Any]], Declared]:
        """Declare an operation.

        The name is `<plugin>.<function>` unless given. The effect comes from the annotated resources, or `effect` where
        it is stronger or there are none. What changes something declares exactly one of: `undo` (here or by the
        decorator of that name; `compensate=True` when it is a semantic inverse, not the identical state),
        `ephemeral="why"`, `irreversible="why"`. `inline` promises to take under 20 µs and never to block; `atomic` has
        the line put everything back when the call fails halfway. `background` says that each call is a job, answered
        at once. `reaches` narrows what the plugin reaches. `shows_keys` is for what makes keys: in every other answer
        a key is withheld, and ended. `returns_untrusted` says what the text it gives is worth (`core.taint.Untrusted`);
        left out, what reaches beyond the platform is untrusted. `sends` says that it gives something of the caller's to
        others (mail, messages, uploads), or tells it by the parsed input. `face` says how agents are shown it. `asks`
        says why a person must approve each call that anybody but a person makes, whatever the grants say. `resumes`
        promises that a job which a crash or a stop cut off finds out how far it was when it is begun anew.
        """
        beyond = set(reaches or ()) - set(self.reaches)
        if beyond:
            raise TypeError(f"the plugin `{self.name}` does not reach {', '.join(sorted(beyond))}")

        def declare(function: Callable[..., Any]) -> Declared:
            full = name or f"{self.name}.{function.__name__.rstrip('_')}"
            declared = Declared(
                function, full, self.name, risk, effect, scope, idempotent, inline, atomic, compensate, ephemeral,
                irreversible, timeout_s, self.reaches if reaches is None else reaches, examples, version,
                background, shows_keys, returns_untrusted, sends, face, asks, resumes,
            )  # fmt: skip
            if undo is not None:
                declared.undo(undo)
            self.declared.append(declared)
            return declared

        return declare

    def resource(self, kind: str, keeper: Keeper) -> None:
        """Say how the state of a kind of resource is kept and put back."""
        self.keepers[kind] = keeper

    def connection(
        self, type: str, *, schemes: tuple[str, ...], options: type[Input] = Input, shows: Shows | None = None
    ) -> Callable[[ConnectionTest], ConnectionTest]:
        """Provide a type of connection by the function that tries one: `(ctx, connected) -> what answered`."""

        def declare(test: ConnectionTest) -> ConnectionTest:
            self.connections[type] = ConnectionType(type, schemes, options, test, shows)
            return test

        return declare

    def on_outcome(self, observer: Callable[[object], None]) -> Callable[[object], None]:
        """Hear of every call that ended (`Performed`); off the line, so it can neither delay nor fail a call."""
        self.observers.append(observer)
        return observer

    def lifespan(self, make: Lifespan) -> Lifespan:
        """Run something while the platform runs."""
        self.lifespans.append(make)
        return make

    def mount(self, prefix: str, app: App, *, public: bool = False, channel: str = "http") -> None:
        """Serve routes below a prefix (built-in features only); the handler may only call the kernel.

        `public` ones also answer to strangers. See `superagent.core.mounts`.
        """
        self.mounts.append(Mount(prefix, app, public, channel))

    def compile(self) -> list[Operation]:
        """Compile every declared operation. Raises `TypeError` naming what an author left out."""
        return [one.compiled for one in self.declared]
