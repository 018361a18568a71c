"""Declaring: a plugin's operations as data, with everything that the server needs to judge and to describe them."""

from __future__ import annotations

from superagent.core.operation import Declared, Operation
from superagent.core.plugin import Plugin
from superagent.hosted import words


def declare(plugin: Plugin) -> tuple[words.Declaration, dict[str, Operation]]:
    """Give what a plugin declares, and its operations by name. Raises `TypeError` as compiling does."""
    compiled = {operation.name: operation for operation in plugin.compile()}
    hooks = [
        what
        for what, there in (
            ("resource", plugin.keepers),
            ("connection", plugin.connections),
            ("on_outcome", plugin.observers),
            ("lifespan", plugin.lifespans),
        )
        if there
    ]
    said = [_declared(one, compiled[one.name]) for one in plugin.declared]
    return words.Declaration(words.PROTOCOL, plugin.name, list(plugin.reaches), said, hooks), compiled


def _declared(author: Declared, made: Operation) -> words.Declared:
    undo = author.hooks.get("undo")
    back: words.Back = "" if undo is None else "own"
    if undo is not None and (undo.__module__, undo.__name__) == ("superagent.sdk", "put_back"):
        back = "put_back"
    return words.Declared(
        name=made.name,
        doc=made.description,
        arguments=[argument for argument, _ in made.shape.names],
        input_schema=made.input_schema,
        output_schema=made.output_schema,
        risk=int(made.risk),
        digest=made.digest,
        effect=None if author.effect is None else int(author.effect),
        touched=[words.Touched(one.argument, one.kind, int(one.effect), one.many) for one in made.touched],
        reaches=sorted(author.reaches),
        scope=author.scope,
        idempotent=author.idempotent,
        inline=author.inline,
        atomic=author.atomic,
        stream=made.stream,
        compensate=author.compensate,
        ephemeral=author.ephemeral,
        irreversible=author.irreversible,
        timeout_s=author.timeout_s,
        preview="preview" in author.hooks,
        undo=back,
        assess="assess" in author.hooks,
        touches="touches" in author.hooks,
        examples=[words.Example(one.title, one.input) for one in author.examples],
        version=author.version,
    )
