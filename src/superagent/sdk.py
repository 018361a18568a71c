"""The single door for plugin authors: everything a plugin may use, and nothing else of ours."""

from superagent.core.commands import SCRIPT, Captured, Command, Ended, Ran
from superagent.core.containment import PROFILES, Isolation, Limits
from superagent.core.context import Change, Context, resource_of, rights_of
from superagent.core.grants import Grant, Strict
from superagent.core.invocation import Call, EffectNote, Outcome, Status
from superagent.core.operation import Declared, Example, Input, Nothing, Output, Preview
from superagent.core.patterns import glob_of
from superagent.core.pipeline import Performed
from superagent.core.plugin import Plugin
from superagent.core.ports import Keeper, Kept
from superagent.core.principal import Principal, Secret
from superagent.core.problems import (
    Cancelled,
    Conflict,
    Deadline,
    Denied,
    Fault,
    Fix,
    Internal,
    InvalidInput,
    Locked,
    NotFound,
    Overloaded,
    Problem,
    TooLarge,
    Unavailable,
)
from superagent.core.resources import (
    Connection,
    DestroyPath,
    Effect,
    ReadPath,
    ReadWritePath,
    Resource,
    Risk,
    Touches,
    Url,
    WritePath,
    canonical_path,
)


async def put_back(ctx: Context, kept: Kept) -> None:
    """Undo a change that was kept by `ctx.changing`: give it as `undo=put_back`."""
    await ctx.put_back(kept)


__all__ = [
    "PROFILES", "SCRIPT", "Call", "Cancelled", "Captured", "Change", "Command", "Conflict", "Connection", "Context",
    "Deadline", "Declared", "Denied", "DestroyPath", "Effect", "EffectNote", "Ended", "Example", "Fault", "Fix",
    "Grant", "Input", "Internal", "InvalidInput", "Isolation", "Keeper", "Kept", "Limits", "Locked", "NotFound",
    "Nothing", "Outcome", "Output", "Overloaded", "Performed", "Plugin", "Preview", "Principal", "Problem", "Ran",
    "ReadPath", "ReadWritePath", "Resource", "Risk", "Secret", "Status", "Strict", "TooLarge", "Touches",
    "Unavailable", "Url", "WritePath", "canonical_path", "glob_of", "put_back", "resource_of", "rights_of",
]  # fmt: skip
