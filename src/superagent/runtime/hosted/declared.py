"""Declared: what a hosted plugin declares becomes operations like any others, made by the same compiler.

Whatever loading refuses in this process it refuses here too, since it is the same code that looks; and the plugin's own
side must have made the very same of it, which the digests say.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, cast

import msgspec
from pydantic import Field, TypeAdapter, ValidationError

from superagent.core.context import Context
from superagent.core.operation import Declared as Author
from superagent.core.operation import Example, Input, Operation, Preview, Scope
from superagent.core.plugin import Plugin
from superagent.core.ports import Kept
from superagent.core.resources import Effect, Risk, Touches
from superagent.hosted import words
from superagent.runtime.hosted.schemas import Types, output_of, properties

MOST_OPERATIONS = 200
MOST_BYTES = 1024 * 1024
LONGEST_S = 3600.0
LONGEST_TEXT = 20_000
KINDS = ("path", "host", "connection", "secret")
LEAST_RISK = {Effect.READ: Risk.LOW, Effect.CHANGE: Risk.MEDIUM, Effect.DESTROY: Risk.HIGH}
"""Nobody here has read a hosted plugin: it cannot call a change harmless."""


class Runs(Protocol):
    """What does the work of one operation, elsewhere."""

    async def do(self, ctx: Context, what: words.What, made: Made, values: dict[str, Any]) -> Any:
        """Do it and give the output. Raises the problem."""
        ...

    def stream(self, ctx: Context, made: Made, values: dict[str, Any]) -> AsyncGenerator[Any]:
        """Do it and give each event."""
        ...

    async def undo(self, ctx: Context, made: Made, kept: Kept) -> None:
        """Take it back."""
        ...


@dataclass(slots=True)
class Made:
    """A declared operation on the server's side: `names` are (argument, name in the input), `output` its class."""

    declared: words.Declared
    output: Any
    names: tuple[tuple[str, str], ...] = ()


def plugin_of(said: words.Declaration, name: str, reaches: Iterable[str], runs: Runs) -> tuple[Plugin, list[Operation]]:
    """Give the plugin of a declaration, and its operations.

    `reaches` is what its manifest says and the installation allows. Raises `TypeError` that says what is refused.
    """
    if said.protocol != words.PROTOCOL:
        raise TypeError(f"it speaks protocol {said.protocol}, this server {words.PROTOCOL}")
    if len(words.encode(said)) > MOST_BYTES:
        raise TypeError(f"it declares more than {MOST_BYTES} bytes")
    if odd := next(_unprintable(msgspec.to_builtins(said)), None):
        raise TypeError(f"it declares something that cannot be shown: {odd[:80]!a}")
    if said.name != name:
        raise TypeError(f"its manifest is called `{name}`, the plugin in it `{said.name[:80]}`")
    if said.hooks:
        raise TypeError(f"a hosted plugin cannot hang `{said.hooks[0][:40]}` on the platform; only a trusted one can")
    if beyond := sorted(set(said.reaches) - set(reaches)):
        raise TypeError(f"it reaches `{beyond[0][:40]}`, which its manifest does not say")
    if not 0 < len(said.operations) <= MOST_OPERATIONS:
        raise TypeError(f"it declares {len(said.operations)} operations; from 1 to {MOST_OPERATIONS} are taken")
    plugin = Plugin(name, reaches=tuple(sorted(said.reaches)))
    for one in said.operations:
        _declare(plugin, one, runs)
    operations = plugin.compile()
    for one, made in zip(said.operations, operations, strict=True):
        _compare(one, made)
    return plugin, operations


def _unprintable(value: Any) -> Iterator[str]:
    """Find texts with what terminals obey or readers do not see: people decide by what they are shown."""
    if isinstance(value, str):
        if not value.replace("\n", "").isprintable():
            yield value
    elif isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from _unprintable(one)
    elif isinstance(value, dict):
        for key, one in cast("dict[Any, Any]", value).items():
            yield from _unprintable(key)
            yield from _unprintable(one)


def _declare(plugin: Plugin, one: words.Declared, runs: Runs) -> None:
    if not one.name.startswith(f"{plugin.name}."):
        raise TypeError(f"`{one.name[:80]}` is not `{plugin.name}.…`: a plugin declares nothing under another's name")
    for what, wrong in (
        ("`assess` and `touches` run before a call is permitted, where no hosted code does", one.assess or one.touches),
        ("only the platform's own operations are of the scope `instance`", one.scope != "tenant"),
        ("what runs elsewhere is not `inline`", one.inline),
        (
            f"`timeout_s` is from 0 to {LONGEST_S:g}",
            not (math.isfinite(one.timeout_s) and 0 < one.timeout_s <= LONGEST_S),
        ),
        ("it says more than anybody reads", len(one.doc) + len(one.ephemeral) + len(one.irreversible) > LONGEST_TEXT),
        ("its version is no positive number", not 0 < one.version < 10**6),
        (
            "its risk or effect is none",
            not (one.risk in set(Risk) and (one.effect is None or one.effect in set(Effect))),
        ),
    ):
        if wrong:
            raise TypeError(f"{one.name}: {what}")
    made = Made(one, output_of(_class_of(one.output_schema, one.name), one.output_schema))
    author = plugin.operation(
        one.name,
        risk=Risk(one.risk),
        effect=None if one.effect is None else Effect(one.effect),
        scope=cast(Scope, one.scope),
        idempotent=one.idempotent,
        atomic=one.atomic,
        compensate=one.compensate,
        ephemeral=one.ephemeral,
        irreversible=one.irreversible,
        timeout_s=one.timeout_s,
        reaches=tuple(one.reaches),
        examples=tuple(Example(example.title, example.input) for example in one.examples),
        version=one.version,
        returns_untrusted="always",  # nobody here has read it: what it says is said by a stranger
    )(_function(made, runs))
    _hang(author, made, runs)


def _class_of(schema: dict[str, Any], name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("_", ".").split(".")) if schema else "Nothing"


def _function(made: Made, runs: Runs) -> Callable[..., Any]:
    """Make the function that the compiler looks at: its signature says what was declared, its body asks the plugin."""
    one = made.declared
    types = Types(one.input_schema, Input)
    fields = properties(one.input_schema)
    required = set(cast("list[str]", one.input_schema.get("required", [])))
    names = tuple((argument, argument.rstrip("_")) for argument in one.arguments)
    if {alias for _, alias in names} != set(fields) or len(fields) != len(names):
        raise TypeError(f"{one.name}: its arguments are not those of its schema")
    made.names = names
    annotations: dict[str, Any] = {}
    parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_ONLY)]
    for argument, alias in names:
        marks = [_mark(one.name, touch) for touch in one.touched if touch.argument == argument]
        annotations[argument] = _annotated(types.of(fields[alias], marks), fields[alias])
        given = inspect.Parameter.empty
        if alias not in required:
            given = _default(one.name, argument, annotations[argument], fields[alias].get("default"))
        parameters.append(inspect.Parameter(argument, inspect.Parameter.KEYWORD_ONLY, default=given))

    async def run(ctx: Context, /, **values: Any) -> Any:
        return await runs.do(ctx, "run", made, values)

    async def events(ctx: Context, /, **values: Any) -> AsyncGenerator[Any]:
        async for event in runs.stream(ctx, made, values):
            yield event

    function: Any = events if one.stream else run
    function.__doc__ = one.doc
    function.__annotations__ = {**annotations, "return": AsyncGenerator[made.output] if one.stream else made.output}
    function.__signature__ = inspect.Signature(parameters)
    return function


def _annotated(kind: Any, schema: dict[str, Any]) -> Any:
    return Annotated[kind, Field(description=schema["description"])] if "description" in schema else kind


def _default(name: str, argument: str, kind: Any, value: Any) -> Any:
    """Give a default as it was declared, if it could have been given: nobody checks it when it is used."""
    try:
        TypeAdapter(kind).validate_json(msgspec.json.encode(value), strict=True)
    except ValidationError:
        raise TypeError(f"{name}: the default of `{argument[:80]}` is none that could be given") from None
    return value


def _mark(name: str, touch: words.Touched) -> Touches:
    if touch.kind not in KINDS or touch.effect not in set(Effect):
        raise TypeError(f"{name}: a hosted plugin names resources of the kinds {', '.join(KINDS)}")
    return Touches(touch.kind, Effect(touch.effect))


def _hang(author: Author, made: Made, runs: Runs) -> None:
    one = made.declared
    if one.preview:

        async def preview(ctx: Context, **values: Any) -> Preview:
            return await runs.do(ctx, "preview", made, values)

        author.preview(preview)
    if one.undo:

        async def undo(ctx: Context, kept: Kept) -> None:
            if one.undo == "put_back":  # what the platform kept, it puts back by itself
                await ctx.put_back(kept)
            else:
                await runs.undo(ctx, made, kept)

        author.undo(undo)


def _compare(one: words.Declared, made: Operation) -> None:
    """Refuse what did not become on this side what it is on the plugin's."""
    touched = [words.Touched(touch.argument, touch.kind, int(touch.effect), touch.many) for touch in made.touched]
    for what, same in (
        ("input", made.input_schema == one.input_schema),
        ("output", made.output_schema == one.output_schema),
        ("resources", touched == one.touched),
        ("whole", made.digest == one.digest),
    ):
        if not same:
            raise TypeError(
                f"{one.name}: its {what} cannot be said by plain types (texts, numbers, choices, lists, dictionaries "
                "and classes of them), so a hosted plugin cannot have it"
            )
    if made.risk < LEAST_RISK[made.effect]:
        raise TypeError(
            f"{one.name}: what has the effect {made.effect.name} is at least of the risk "
            f"{LEAST_RISK[made.effect].name} in a hosted plugin"
        )
