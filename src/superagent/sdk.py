"""The single door for plugin authors: everything a plugin may use, and nothing else of ours."""

from superagent.core import policy_text
from superagent.core.carried import Answer, FoundFile
from superagent.core.cedar import export as cedar_export
from superagent.core.changes import Change, Keep, resource_named, resource_of, rights_of, unkept
from superagent.core.commands import SCRIPT, Captured, Command, Effects, Ended, Ran, Traffic
from superagent.core.connections import Connected, ConnectionType, SecretReach, SecretUse, Shown, place_of
from superagent.core.containment import PROFILES, Isolation, Limits
from superagent.core.context import Context
from superagent.core.endpoints import HostRule
from superagent.core.explaining import DEPENDS, Explained, Supposed, replayed
from superagent.core.faces import Face
from superagent.core.grants import ISOLATION, Cidr, Grant, Host, IsolationLevel, Strict, When, Where
from superagent.core.invocation import Call, EffectNote, Outcome, Performed, Status
from superagent.core.line_diff import lines_of, unified
from superagent.core.media import Document, Media, Message, Messages, Picture, Sound, Text
from superagent.core.neutral import neutral_line
from superagent.core.operation import Declared, Example, Input, Nothing, Operation, Output, Preview
from superagent.core.patterns import glob_of
from superagent.core.plugin import Plugin
from superagent.core.policy import Decision, Policy
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
    NeedsApproval,
    NeedsClient,
    NeedsInput,
    NotFound,
    Overloaded,
    Problem,
    StepUpRequired,
    TooLarge,
    Unavailable,
)
from superagent.core.questions import Ask, Question
from superagent.core.reached import Link, Way
from superagent.core.redaction import redact
from superagent.core.redactor import Redactor
from superagent.core.resources import (
    Connection,
    DestroyPath,
    Effect,
    FolderPath,
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
from superagent.core.rules import Facts
from superagent.core.secret_inputs import SecretText
from superagent.core.sessions import At, Evaluated, Opening, Over, Screen, Snippet, Typing
from superagent.core.shape import faults_of
from superagent.core.shown_effects import Changes
from superagent.core.taint import Mark


async def put_back(ctx: Context, kept: Kept) -> None:
    """Undo a change that was kept by `ctx.changing`: give it as `undo=put_back`."""
    await ctx.put_back(kept)


__all__ = [
    "DEPENDS", "ISOLATION", "PROFILES", "SCRIPT", "Answer", "Ask", "At", "Call", "Cancelled", "Captured", "Change",
    "Changes", "Cidr", "Command", "Conflict", "Connected", "Connection", "ConnectionType", "Context", "Deadline",
    "Decision", "Declared", "Denied", "DestroyPath", "Document", "Effect", "EffectNote", "Effects", "Ended",
    "Evaluated", "Example", "Explained", "Face", "Facts", "Fault", "Fix", "FolderPath", "FoundFile", "Grant", "Host",
    "HostRule", "Input", "Internal", "InvalidInput", "Isolation", "IsolationLevel", "Keep", "Keeper", "Kept", "Limits",
    "Link", "Locked", "Mark", "Media", "Message", "Messages", "NeedsApproval", "NeedsClient", "NeedsInput", "NotFound",
    "Nothing", "Opening", "Operation", "Outcome", "Output", "Over", "Overloaded", "Performed", "Picture", "Plugin",
    "Policy", "Preview", "Principal", "Problem", "Question", "Ran", "ReadPath", "ReadWritePath", "Redactor",
    "Resource", "Risk", "Screen", "Secret", "SecretName", "SecretReach", "SecretText", "SecretUse", "Shown", "Snippet",
    "Sound", "Status", "StepUpRequired", "Strict", "Supposed", "Text", "TooLarge", "Touches", "Traffic", "Typing",
    "Unavailable", "Url", "Way", "When", "Where", "WritePath", "canonical_host", "canonical_path", "cedar_export",
    "faults_of", "glob_of", "lines_of", "neutral_line", "place_of", "policy_text", "put_back", "redact", "replayed",
    "resource_named", "resource_of", "rights_of", "unified", "unkept",
]  # fmt: skip
