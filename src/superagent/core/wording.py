"""Wording: which of our words somebody means by theirs, so that a search finds what is called otherwise here.

Three steps, each a table or a rule and none of them learned: words that say nothing are dropped, endings are cut, and
everyday words (of shells, of other tools, of people) bring ours along.
"""

from __future__ import annotations

import re
from functools import lru_cache

ALONG = 0.6
"""What a word counts that was not said itself but goes with one that was."""

_WORD = re.compile(r"[a-z0-9]+")
_SILENT = frozenset(
    _WORD.findall(
        """
        a an the of in on at to for from by with and or is are was be been it its this that these those me my mine i
        you your we our us what which who whom how do does did can could would should will shall may there here some
        any one two as so than then if when where why into onto about not no please want need have has had let just
        also very all each every other others another still yet more most up out s t m
        """
    )
)

# said → ours; several words are looked for as they stand
_PHRASES: dict[str, str] = {
    "who am i": "whoami",
    "which user am i": "whoami",
    "get rid of": "delete",
    "clean up": "delete forget discard",
    "throw away": "discard drop",
    "roll back": "undo revert",
    "rolled back": "undo plan",
    "take back": "undo apply",
    "log in": "sign login",
    "logged in": "sign session browser",
    "log out": "sign end session browser",
    "sign out": "out end session browser",
    "two factor": "factor totp one time password",
    "second factor": "factor totp",
    "how large": "stat size",
    "how big": "stat size",
    "how far": "status progress",
    "what if": "simulate explain",
    "am i allowed": "grant explain",
    "be allowed": "explain policy",
    "find out": "describe",
    "in the background": "start job background",
    "look for": "search find",
    "turn off": "stop suspend pause",
    "mcp server": "mcp plugin",
    "from the database": "sql rows query select execute",
    "in the database": "sql rows query select",
    "how many": "query select count",
    "a directory": "folder mkdir",
    "modified yesterday": "find changed files",
    "the contents of": "read text file",
    "tells me what it says": "read text file",
    "git status": "command line run",
    "take a permission": "grants revoke",
    "a permission": "grants grant",
    "which tables": "schema tables columns",
    "postgres database": "connections connection create",
    "database connection": "connections connection create",
    "a password": "secret put",
    "as a secret": "secret put",
}
_ALONG: dict[str, str] = {
    # files
    "ls dir directory directories folder": "folder list",
    "cat open view display contents load print": "read show",
    "save store put overwrite create": "write",
    "create make new add": "create make",
    "rm remove erase unlink": "delete remove",
    "delete": "remove revoke drop",
    "mv rename": "move",
    "cp duplicate clone": "copy",
    "substitute change modify": "edit replace",
    "checksum sha256 sha md5 digest": "hash checksum",
    "compare difference differences changed": "diff differ",
    "locate": "find",
    "wildcard": "glob pattern",
    "code source": "code content",
    "zip tar gz compress tarball pack": "archive pack",
    "unzip untar unpack decompress": "extract unpack",
    "recover earlier previous": "restore bring back",
    "monitor observe notify": "watch changes",
    "permission permissions metadata owner modified size": "stat metadata",
    "exist": "exists",
    # commands and code
    "bash sh command terminal": "shell command",
    "execute launch": "run start exec",
    "program": "exec program",
    "script": "script",
    "pipe pipes": "shell command",
    "interactive persistent terminal": "session open shell stays",
    "dangerous risky safe": "explain bad",
    "keystrokes type keys": "send type session",
    "pytest unittest unit coverage": "test tests code",
    "style ruff eslint errors": "lint linter",
    "prettify beautify": "format",
    "repair automatically": "fix",
    "functions structure module": "explain structure",
    "evaluate notebook kernel variables snippet": "repl interpreter snippet",
    "python javascript": "code language run",
    # processes
    "running": "processes list jobs",
    "pid sigterm terminate": "process kill signal",
    "kill": "signal",
    "stop abort halt": "cancel kill stop end",
    "child children hierarchy": "tree parent beneath",
    "renice nice priority": "priority",
    "cpu ram memory": "memory processor processes",
    # databases
    "select rows table tables database record": "sql rows",
    "select": "query",
    "insert update": "execute insert update",
    "columns": "schema columns",
    "slow plan": "explain run statement",
    "block blocks blocked": "locks suspend",
    "postgres postgresql mysql mariadb sqlite": "connection database sql",
    # undo, jobs
    "revert reverted rollback reversible": "undo take back",
    "preview": "plan show would",
    "task tasks": "job schedule",
    "nightly cron daily night tomorrow noon hourly weekly": "schedule cron",
    "scheduled": "schedule schedules",
    "tail output": "logs read written",
    "finish finished done": "wait ended",
    "again rerun repeat": "retry once more",
    "state progress": "status",
    # approvals, access
    "pending": "waiting wait approval",
    "permission permissions rights access": "grant grants rights",
    "temporary": "minutes request",
    "ask": "request",
    "reject refuse decline accept approve": "decide approve deny",
    "allow permit": "grant allow",
    "api token": "key secret",
    "leaked disable": "revoke end",
    "subagent sub": "delegate agent",
    "lend fewer": "delegate lend",
    "user users account colleague": "person people users",
    "invite": "invite link",
    "admin": "roles role",
    "team": "group",
    "spend": "budget",
    "emergency": "stop_all stop all",
    "immediately": "stop",
    "resume continue": "resume release go",
    "block ban": "suspend",
    "trail history log yesterday tampered": "audit",
    "who": "audit actor",
    "tamper tampered": "verify check chains",
    "denied refused forbidden": "explain answered",
    "activate enable": "apply force",
    "suggest": "propose",
    "break": "simulate otherwise",
    # secrets, settings, the rest
    "password passwords token credential credentials": "secret",
    "connect": "connection create",
    "works": "test try",
    "configured": "list",
    "configuration config option options preference": "settings setting",
    "uninstall": "remove",
    "install installed extension addon": "plugin plugins",
    "tool tools": "operation operations tools",
    "call use": "describe",
    "available supported": "capabilities works",
    "large rest": "result page stored",
    "untrusted prompt injection": "taint untrusted",
    "keep": "accept bring",
    "sandbox": "view",
    "recovery": "codes recovery",
    "otp authenticator": "totp one time password",
    "exists": "list",
    "show list": "list show",
}


def meant(text: str) -> dict[str, float]:
    """Give the stems that a request means, and what each counts: 1 where it was said, less where it goes along."""
    plain = " ".join(_WORD.findall(text.lower().replace("_", " ")))
    found = {stem(word): 1.0 for word in plain.split() if word not in _SILENT}
    along = [ours for said, ours in _PHRASES.items() if f" {said} " in f" {plain} "]
    along += [ours for word in plain.split() for ours in _table().get(stem(word), ())]
    for word in " ".join(along).replace("_", " ").split():
        found.setdefault(stem(word), ALONG)
    return found or {stem(word): 1.0 for word in plain.split()}


@lru_cache(1)
def _table() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for said, ours in _ALONG.items():
        for word in said.split():
            found[stem(word)] = (*found.get(stem(word), ()), ours)
    return found


@lru_cache(16_384)
def stem(word: str) -> str:
    """Cut a word's ending, so that `delete`, `deletes`, `deleted` and `deleting` are one."""
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
