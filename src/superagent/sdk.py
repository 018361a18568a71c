"""The single door for plugin authors: everything a plugin may use, and nothing else of ours."""

from superagent.core.changes import Change, resource_of, rights_of
from superagent.core.commands import SCRIPT, Captured, Command, Ended, Ran
from superagent.core.connections import Connected, ConnectionType, SecretReach, SecretUse, Shown
from superagent.core.containment import PROFILES, Isolation, Limits
from superagent.core.context import Context
from superagent.core.grants import Grant, Host, Strict
from superagent.core.invocation import Call, EffectNote, Outcome, Status
from superagent.core.operation import Declared, Example, Input, Nothing, Output, Preview, faults_of
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
from superagent.core.redaction import redact
from superagent.core.redactor import Redactor
from superagent.core.resources import (
    Connection,
    DestroyPath,
    Effect,
    ReadPath,
    ReadWritePath,
    Resource,
    Risk,
    SecretName,
    Touches,
    Url,
    WritePath,
    canonical_host,
    canonical_path,
)
from superagent.core.secret_inputs import SecretText


async def put_back(ctx: Context, kept: Kept) -> None:
    """Undo a change that was kept by `ctx.changing`: give it as `undo=put_back`."""
    await ctx.put_back(kept)


__all__ = [
    "PROFILES", "SCRIPT", "Call", "Cancelled", "Captured", "Change", "Command", "Conflict", "Connected", "Connection",
    "ConnectionType", "Context", "Deadline", "Declared", "Denied", "DestroyPath", "Effect", "EffectNote", "Ended",
    "Example", "Fault", "Fix", "Grant", "Host", "Input", "Internal", "InvalidInput", "Isolation", "Keeper", "Kept",
    "Limits", "Locked", "NotFound", "Nothing", "Outcome", "Output", "Overloaded", "Performed", "Plugin", "Preview",
    "Principal", "Problem", "Ran", "ReadPath", "ReadWritePath", "Redactor", "Resource", "Risk", "Secret",
    "SecretName", "SecretReach", "SecretText", "SecretUse", "Shown", "Status", "Strict", "TooLarge", "Touches",
    "Unavailable", "Url", "WritePath", "canonical_host", "canonical_path", "faults_of", "glob_of", "put_back", "redact",
    "resource_of", "rights_of",
]  # fmt: skip
