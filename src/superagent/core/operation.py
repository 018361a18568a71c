"""Operations: a typed function plus what it touches, compiled once; the only reflection in the house."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from superagent.core.faces import PLAIN, Face
from superagent.core.grants import Strict
from superagent.core.neutral import neutral_line
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput
from superagent.core.resources import Effect, Resource, Risk, Touch, canonical, touches_of
from superagent.core.secret_inputs import is_secret
from superagent.core.shape import Shape, faults_of
from superagent.core.taint import Sends, Untrusted, guarded_of, untrusted_of

Scope = Literal["tenant", "instance"]
TakesBack = Literal["undo", "compensate", "ephemeral", "irreversible", "nothing"]
Values = dict[str, Any]  # the parsed input: argument name to value, resources in canonical spelling


class Output(BaseModel):
    """What an operation gives back; its fields are the output schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Answer = TypeVar("Answer", bound=Output)


class Written(msgspec.Struct, frozen=True, gc=False):
    """An answer as JSON text already."""

    text: bytes


def written(output: Answer) -> Answer:
    """Write an answer once that is given again and again, and never changes."""
    return cast("Answer", Written(output.__pydantic_serializer__.to_json(output, by_alias=True)))


class Input(Strict):
    """A structured argument of an operation."""


class Nothing(Output):
    """An empty answer."""


class Preview(Output):
    """What a call would do: one sentence, the resources it would change, and a diff where there is text to show.

    The sentence stays on one line whatever names it holds: whoever approves reads it among other lines.
    `exact` is False when the present state may change what happens; `expects` names nested operations that may ask;
    `conflicts` say what stands against the call, all of it or a part.
    """

    summary: Annotated[str, AfterValidator(neutral_line)]
    changes: list[str] = []
    diff: str = ""
    exact: bool = True
    expects: list[str] = []
    conflicts: list[str] = []


@dataclass(frozen=True, slots=True)
class Example:
    """One input that works, with what it shows."""

    title: str
    input: dict[str, Any]


@dataclass(frozen=True)
class Declared:
    """A function and what its author said of it, before it is compiled; the decorators hang the rest on."""

    function: Callable[..., Any]
    name: str
    plugin: str
    risk: Risk
    effect: Effect | None = None
    scope: Scope = "tenant"
    idempotent: bool = False
    inline: bool = False
    atomic: bool = False
    compensate: bool = False
    ephemeral: str = ""
    irreversible: str = ""
    timeout_s: float = 60.0
    reaches: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    version: int = 1
    background: bool = False
    shows_keys: bool = False
    returns_untrusted: Untrusted | None = None
    sends: Sends = False
    face: Face = PLAIN
    asks: str = ""
    resumes: bool = False
    hooks: dict[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])

    @cached_property
    def compiled(self) -> Operation:
        """Give it compiled, once for all who install it. Raises `TypeError` naming what its author left out."""
        return compile_operation(self)

    def _hang(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if what in self.hooks:
            raise TypeError(f"{self.name} has its {what} already")
        if "compiled" in self.__dict__:
            raise TypeError(f"{self.name} is installed already: what is hung on it now would never be asked")
        self.hooks[what] = function
        return function

    def preview(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Say what a call would do, changing nothing; same parameters as the operation, gives `Preview`."""
        return self._hang("preview", function)

    def undo(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Take a call back from what was kept: `(ctx, kept)`."""
        return self._hang("undo", function)

    def assess(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Raise the risk for some inputs: pure, takes the parsed input, gives a `Risk`; can never lower it."""
        return self._hang("assess", function)

    def refuses(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse what no grant can permit, before anything happens: `async (principal, values)`, raises `Denied`.

        The line asks it before each call and dry run, and `policy.explain` asks it too.
        """
        return self._hang("refuses", function)

    def validator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give the present state of what a read tells: while it is the `ctx.state` of an answer, that holds."""
        return self._hang("validator", function)

    def touches(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Name more resources than the annotated parameters do: pure, takes the parsed input and the workspace."""
        return self._hang("touches", function)


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One thing that can be asked for, compiled: the line reads these fields and reflects on nothing."""

    name: str
    version: int
    plugin: str
    summary: str
    description: str
    effect: Effect
    risk: Risk
    scope: Scope
    idempotent: bool
    inline: bool
    background: bool
    atomic: bool
    stream: bool
    takes_back: TakesBack
    why: str
    timeout_s: float
    reaches: frozenset[str]
    examples: tuple[Example, ...]
    touched: tuple[Touch, ...]
    run: Callable[..., Any]
    preview: Callable[..., Awaitable[Preview]] | None
    undo: Callable[..., Awaitable[Any]] | None
    assess: Callable[[Values], Risk] | None
    more: Callable[[Values, str], list[Resource]] | None
    shape: Shape
    secrets: tuple[tuple[str, str], ...] = ()  # arguments that are secrets, and what the input calls them
    holds_secrets: bool = False  # by these or by its reach: what a call gives is searched for them
    shows_keys: bool = False  # it makes keys, and gives each once: everywhere else a key in an answer is a leak
    untrusted: Untrusted = "never"
    sends: Sends = False
    asks: str = ""  # why a person must approve each call that somebody else than a person makes
    guarded: bool = False  # some calls of it need a person once their caller has read untrusted text
    face: Face = PLAIN
    resumes: bool = False  # begun anew after a crash, it finds out how far it was
    refuses: Callable[[Principal, Values], Awaitable[None]] | None = None  # what no grant can permit
    validator: Callable[..., Hashable | None] | None = None  # its answer may be given again: `core.reads`

    @property
    def input_schema(self) -> dict[str, Any]:
        """Give the JSON Schema (2020-12) of the input."""
        return self.shape.input_schema

    @property
    def output_schema(self) -> dict[str, Any]:
        """Give the JSON Schema (2020-12) of the output; of one event where the operation is a stream."""
        return self.shape.output_schema

    @property
    def digest(self) -> str:
        """Name name, version, effect and both schemas: two installations with equal digests mean the same."""
        return self.shape.digest

    @property
    def tool(self) -> str:
        """Give the name by which models call it: most of them refuse dots."""
        return self.face.tool or self.name.replace(".", "_")

    @property
    def undoable(self) -> bool:
        """Tell whether a call can be taken back exactly."""
        return self.takes_back == "undo"

    @property
    def domain(self) -> str:
        """Give the part of the name before the first dot."""
        return self.name.partition(".")[0]

    def uses(self, kind: str, effect: Effect) -> bool:
        """Tell whether a parameter names this kind of resource with this effect."""
        return any(touch.kind == kind and touch.effect == effect for touch in self.touched)

    def parse(self, body: Mapping[str, Any]) -> Values:
        """Check an input strictly and give it by argument name. Raises `InvalidInput` with the path of each fault."""
        shape = self.shape
        if not body and not shape.names:
            return {}
        try:
            model = shape.hurried.validate_python(body)
        except ValidationError as first:
            bad = first
            if is_small(body):  # then every fault can be told
                try:
                    shape.model.model_validate(body)
                except ValidationError as whole:
                    bad = whole
            raise InvalidInput(
                f"the input does not fit `{self.name}`",
                errors=faults_of(bad, shape.known),
                hint=f"see `superagent describe {self.name}`",
            ) from None
        named = model.__dict__
        return dict(named) if shape.direct else {argument: named[attribute] for argument, attribute in shape.names}

    def resources(self, values: Values, workspace: str) -> tuple[Resource, ...]:
        """Name what this input touches; paths in `values` get the same spelling, one name is judged and used."""
        if not self.touched and self.more is None:
            return ()
        found: list[Resource] = []
        for touch in self.touched:
            value = values[touch.argument]
            if value is None:
                continue
            paths: list[str] = []
            for one in value if touch.many else (value,):
                authority, path = canonical(touch.kind, one, workspace)
                found.append(Resource(touch.kind, authority, path, touch.effect, touch.folder))
                paths.append(path)
            if touch.kind == "path":
                values[touch.argument] = paths if touch.many else paths[0]
        if self.more is not None:
            found += self.more(values, workspace)
        return tuple(found) if len(found) < 2 else tuple(dict.fromkeys(found))

    def dump(self, output: Any) -> bytes:
        """Give an output as JSON text."""
        return output.text if type(output) is Written else output.__pydantic_serializer__.to_json(output, by_alias=True)


def compile_operation(declared: Declared) -> Operation:
    """Compile a declared function. Raises `TypeError` naming what its author left out."""
    function, name = declared.function, declared.name
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    touched = tuple(touch for p in parameters for touch in touches_of(p.name, hints[p.name]))
    fields: dict[str, Any] = {}
    names: list[tuple[str, str]] = []
    secrets = [(p.name, p.name.rstrip("_")) for p in parameters if is_secret(hints[p.name])]
    for p in parameters:
        default: Any = ... if p.default is inspect.Parameter.empty else p.default
        alias = p.name.rstrip("_")
        attribute = f"{alias}_" if alias.startswith("model_") or hasattr(BaseModel, alias) else alias
        fields[attribute] = (hints[p.name], Field(default=default, alias=alias) if attribute != alias else default)
        names.append((p.name, attribute))
    stream = inspect.isasyncgenfunction(function)
    result = _result(name, hints.get("return"), stream)
    effects = [touch.effect for touch in touched] + [one for one in (declared.effect,) if one is not None]
    effect = max(effects, default=None)
    doc = inspect.cleandoc(function.__doc__ or "")
    holds_secrets = bool(secrets) or "secret" in declared.reaches
    _complain(declared, effect, doc, holds_secrets)
    assert effect is not None
    takes_back, why = _takes_back(declared, effect)
    return Operation(
        name=name,
        version=declared.version,
        plugin=declared.plugin,
        summary=doc.split("\n", 1)[0].rstrip("."),
        description=doc,
        effect=effect,
        risk=declared.risk,
        scope=declared.scope,
        idempotent=declared.idempotent or effect == Effect.READ,
        inline=declared.inline,
        background=declared.background,
        resumes=declared.resumes,
        atomic=declared.atomic,
        stream=stream,
        takes_back=takes_back,
        why=why,
        timeout_s=declared.timeout_s,
        reaches=frozenset(declared.reaches),
        examples=declared.examples,
        touched=touched,
        run=function,
        preview=declared.hooks.get("preview"),
        undo=declared.hooks.get("undo"),
        assess=declared.hooks.get("assess"),
        more=declared.hooks.get("touches"),
        shape=Shape((name, declared.version, effect), fields, tuple(names), result, declared.face.rules),
        secrets=tuple(secrets),
        holds_secrets=holds_secrets,
        shows_keys=declared.shows_keys,
        untrusted=untrusted_of(
            declared.returns_untrusted, bool(touched) or "touches" in declared.hooks, declared.reaches
        ),
        sends=declared.sends,
        asks=declared.asks,
        guarded=bool(declared.asks)
        or guarded_of(
            effect, declared.risk, declared.sends, {one.kind for one in touched}, declared.hooks, declared.reaches
        ),
        face=declared.face,
        refuses=declared.hooks.get("refuses"),
        validator=declared.hooks.get("validator"),
    )


def is_small(value: Any, most: int = 1000) -> bool:
    """Tell whether a value has so few parts, without looking at more of them."""
    waiting, seen = [value], 0
    while waiting and seen <= most:
        one = waiting.pop()
        seen += 1
        if isinstance(one, dict | list):
            inner = cast("Collection[Any]", one.values() if isinstance(one, dict) else one)
            seen += len(inner)
            if seen <= most:
                waiting.extend(inner)
    return seen <= most


def _complain(declared: Declared, effect: Effect | None, doc: str, holds_secrets: bool) -> None:
    name = declared.name
    if not doc:
        raise TypeError(f"{name} has no docstring: its first line is the summary that people and models read")
    if effect is None:
        raise TypeError(f"{name} touches nothing and declares no effect")
    undone = bool(declared.hooks.get("undo")) and not declared.compensate
    ways = [undone, declared.compensate, bool(declared.ephemeral), bool(declared.irreversible)]
    if effect > Effect.READ and sum(ways) != 1:
        raise TypeError(f"{name} changes something: declare exactly one of undo, compensate, ephemeral, irreversible")
    if effect == Effect.READ and any(ways):
        raise TypeError(f"{name} only reads, so there is nothing to take back")
    if declared.inline and holds_secrets:
        raise TypeError(f"{name} holds secrets, and looking for them takes longer than `inline` promises")
    if (effect or declared.inline or holds_secrets or declared.background) and "validator" in declared.hooks:
        raise TypeError(f"{name} has a validator: that is for reads that take a while and hold no secrets")
    if declared.compensate and "undo" not in declared.hooks:
        raise TypeError(f"{name} compensates, but no undo function says how")
    if effect == Effect.DESTROY and "preview" not in declared.hooks:
        raise TypeError(f"{name} destroys and has no preview")


def _takes_back(declared: Declared, effect: Effect) -> tuple[TakesBack, str]:
    if effect == Effect.READ:
        return "nothing", "it only reads"
    if declared.ephemeral:
        return "ephemeral", declared.ephemeral
    if declared.irreversible:
        return "irreversible", declared.irreversible
    return ("compensate", "") if declared.compensate else ("undo", "")


def _result(name: str, hint: Any, stream: bool) -> type[BaseModel]:
    if stream:
        hint = next(iter(get_args(hint)), None)
    if hint is None or hint is type(None):
        return Nothing
    if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
        raise TypeError(f"{name} must give back a class that extends `Output`")
    return hint
