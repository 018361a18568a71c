"""The operation that explains a command line without running it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Context, Effect, Example, InvalidInput, Output, Risk

from .line import explained_of, shell

MOST_LISTED = 500

Line = Annotated[str, Field(min_length=1, max_length=100_000, description="a command line, as for `shell.run`")]


class Explained(Output):
    """What a command line names: programs, files, hosts; `risk` with its reasons.

    `unclear` is what is known only when it runs, `whole` is false where not all of it could be read. Files and hosts
    are those of the text: what a program does beyond its arguments is not known, so this is a help and no protection.
    """

    programs: list[str]
    reads: list[str]
    writes: list[str]
    removes: list[str]
    hosts: list[str]
    unclear: list[str]
    risk: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
    why: list[str]
    whole: bool


@shell.operation(
    risk=Risk.LOW,
    effect=Effect.READ,
    reaches=("apart",),
    timeout_s=30.0,
    examples=(Example("what would this do", {"command": "grep -r TODO src | sort > todo.txt"}),),
)
async def explain(ctx: Context, command: Line) -> Explained:
    """Say which programs, files and hosts a command line names, and how bad it could be; nothing is run."""
    if not command.strip():
        raise InvalidInput("`command` must say something", hint="give a command line, such as `ls -l`")
    found = await explained_of(ctx, command)
    lists = {
        name: getattr(found, name)[:MOST_LISTED]
        for name in ("programs", "reads", "writes", "removes", "hosts", "unclear", "why")
    }
    return Explained.model_validate(lists | {"risk": found.risk, "whole": found.whole})
