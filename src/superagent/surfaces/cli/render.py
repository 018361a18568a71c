"""Rendering: outcomes, problems and events for people; every text that came from outside is made harmless first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, cast

from superagent.core.neutral import laid_open, neutral, neutral_line
from superagent.surfaces.cli.tables import BLANK, cell, show_table
from superagent.surfaces.cli.target import Answer, Event
from superagent.surfaces.cli.terminal import Screen

_COLOURS = {"done": "green", "undone": "green", "previewed": "cyan"} | dict.fromkeys(
    ("waiting", "queued", "running"), "yellow"
)
_CHANGED = {
    "nothing": "nothing was changed",
    "partly": "a part was changed",
    "unknown": "what was changed is not known",
}
_DIFF = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
_SECTIONS = ("preview", "changes", "network", "contained", "outcome", "output")
"""Objects of these names are shown like an output of their own; every other one as JSON."""


def show_answer(screen: Screen, answer: Answer) -> None:
    """Show an outcome or a problem."""
    if screen.json:
        screen.document(answer.document)
    elif answer.refused:
        _problem(screen, answer.document)
    else:
        _outcome(screen, answer.document)


def show_event(screen: Screen, event: Event) -> None:
    """Show one event of a stream; the outcome that ends one is shown as such."""
    if screen.json:
        screen.document(event.data)
    elif event.kind == "outcome" and "problem" in event.data:
        _problem(screen, event.data["problem"])
    elif event.kind == "outcome":
        _outcome(screen, event.data)
    elif event.data.get("kind") == "progress":
        fraction = event.data.get("fraction")
        share = f"{fraction:4.0%}  " if isinstance(fraction, float) else ""
        _print(screen, (share, "cyan"), neutral_line(str(event.data.get("text", ""))))
    else:
        parts = [part for name, value in event.data.items() if value not in BLANK for part in _pair(name, value)]
        _print(screen, (f"{event.kind}  ", "cyan"), *parts)


def show_output(screen: Screen, output: Mapping[str, Any], *, decides: bool = False) -> None:
    """Show what an operation gave back: short values in lines, lists as tables, long texts and diffs as they are.

    `decides`: a person decides by it, so nothing in a text stays unseen.
    """
    output = {name: value for name, value in output.items() if name != "cursor" or value}  # none: that was all
    short = {name: value for name, value in output.items() if not _is_long(name, value)}
    width = max((len(name) for name in short), default=0)
    for name, value in short.items():
        _print(screen, (f"{neutral_line(name):<{width}}  ", "dim"), cell(name, value))
    for name, value in output.items():
        if not _is_long(name, value):
            continue
        if isinstance(value, str):
            _text(screen, name, value, decides=decides)
        elif isinstance(value, dict):
            _print(screen, (f"{neutral_line(name)}:", "dim"))
            show_output(screen, cast("dict[str, Any]", value), decides=decides)
        else:
            rows = cast("list[dict[str, Any]]", value)
            show_table(screen, name, [{part: row[part] for part in row if part != "diff"} for row in rows])
            _text(screen, "diff", "".join(str(row.get("diff") or "") for row in rows), decides=decides)


def command_of(operation: str, input: Mapping[str, Any]) -> str:
    """Give the command line that calls an operation, quoted for a shell."""
    extra = f" --input {shlex.quote(json.dumps(input, ensure_ascii=False))}" if input else ""
    return neutral_line(f"superagent call {shlex.quote(operation)}{extra}")


def _outcome(screen: Screen, document: Mapping[str, Any]) -> None:
    status = str(document["status"])
    id = neutral_line(str(document["invocation"]))
    seconds = f" in {document['seconds']:.3f} s" if "seconds" in document else ""
    head = f"  {neutral_line(str(document['operation']))}{seconds}"
    _print(screen, (neutral_line(status), f"bold {_COLOURS.get(status, 'red')}"), head, (f"  {id}", "dim"))
    if document.get("output"):
        show_output(screen, document["output"], decides=str(document["operation"]).startswith("approvals."))
    if document.get("isolation"):
        _print(screen, ("isolation  ", "dim"), _contained(document["isolation"]))
    touched = dict.fromkeys((str(one["effect"]), str(one["resource"])) for one in document.get("effects", ()))
    for effect, resource in touched:  # an undo changes the same one several times
        _print(screen, (f"{neutral_line(effect):<8}", "yellow"), neutral_line(resource))
    _next_of_output(screen, document.get("output") or {})
    if document.get("handle"):
        handle = neutral_line(str(document["handle"]))
        _print(
            screen, "the result is large: ", (f"superagent result read {handle}", "bold"), " (or call with --save FILE)"
        )
    undo = document.get("undo")
    if undo and undo["possible"]:
        _print(
            screen, ("undo until ", "dim"), cell("until", undo["until"]), ("  superagent undo ", "bold"), (id, "bold")
        )
    elif undo:
        _print(screen, ("no undo  ", "dim"), neutral_line(str(undo["why"])))
    if status == "waiting":
        _print(screen, "somebody else must approve it: ", (f"superagent approvals approve {id}", "bold"))
    elif status in ("queued", "running"):
        _print(screen, "see how it goes: ", (f"superagent watch {id}", "bold"))


def _contained(isolation: Mapping[str, Any]) -> str:
    """Say on one line how a command was contained, and which of its limits held in part or not at all."""
    limits = cast("dict[str, str]", isolation["limits"])
    held = {how: ", ".join(name for name in limits if limits[name] == how) for how in ("partial", "none")}
    lacking = [f"{held[how]} {word}" for how, word in (("partial", "held in part"), ("none", "not held")) if held[how]]
    level = f"{isolation['level']} ({isolation['backend']})" if isolation["level"] != "none" else "not contained"
    parts = [level, f"network {isolation['network']}"]
    return neutral_line("; ".join([*parts, *(lacking or ["every limit held"])]))


def _next_of_output(screen: Screen, output: Mapping[str, Any]) -> None:
    changes = output.get("changes")
    view = cast("dict[str, Any]", changes).get("view") if isinstance(changes, dict) else None
    if view:
        command = neutral_line(shlex.quote(str(view)))
        _print(screen, "its changes wait: ", (f"superagent sandbox accept {command}", "bold"), ", or diff, or discard")
    if handle := output.get("handle"):
        _print(screen, "read it: ", (f"superagent result read {neutral_line(shlex.quote(str(handle)))}", "bold"))


def _problem(screen: Screen, document: Mapping[str, Any]) -> None:
    say = screen.err.print
    title, detail, kind = (neutral_line(str(document.get(name, ""))) for name in ("title", "detail", "type"))
    say(_styled((title, "bold red"), ("  " + kind.rpartition("/")[2], "dim")))
    if detail and detail != title:
        say(_styled(detail))
    for fault in document.get("errors", ()):
        say(_styled(("  " + neutral_line(str(fault["path"])), "bold"), "  ", neutral_line(str(fault["message"]))))
    changed = str(document.get("changed", ""))
    style = "dim" if changed == "nothing" else "bold yellow"
    say(_styled((_CHANGED.get(changed, neutral_line(changed)), style)))
    for one in document.get("partly", ()):
        say(_styled(("  " + neutral_line(str(one)), "yellow")))
    if document.get("hint"):
        say(_styled(("hint  ", "cyan"), neutral_line(str(document["hint"]))))
    if fix := document.get("fix"):
        say(_styled(("fix   ", "cyan"), (command_of(str(fix["operation"]), fix["input"]), "bold")))
    if document.get("invocation"):
        say(_styled((neutral_line(str(document["invocation"])), "dim")))


def _is_long(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return "\n" in value or name in ("diff", "patch")
    if isinstance(value, dict):
        return name in _SECTIONS
    found = cast("list[Any]", value) if isinstance(value, list) else []
    return bool(found) and all(isinstance(one, dict) for one in found)


def _text(screen: Screen, name: str, text: str, *, decides: bool) -> None:
    if not text:
        return
    _print(screen, (f"{neutral_line(name)}:", "dim"))
    is_diff = name in ("diff", "patch") or text.startswith("--- ")
    lines = (laid_open if decides or is_diff else neutral)(text).removesuffix("\n").split("\n")
    for line in lines:
        style = next((style for mark, style in _DIFF if line.startswith(mark)), "") if is_diff else ""
        _print(screen, (line, style))


def _pair(name: str, value: Any) -> list[str | tuple[str, str]]:
    return [(f"{neutral_line(name)} ", "dim"), f"{cell(name, value)}  "]


def _print(screen: Screen, *parts: str | tuple[str, str]) -> None:
    screen.out.print(_styled(*parts))


def _styled(*parts: str | tuple[str, str]) -> Any:
    from rich.text import Text

    return Text.assemble(*parts)
