"""People see what happened, in colour where they look, and nothing that came from outside can pretend to be more."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from superagent.surfaces.cli.render import command_of, show_answer, show_event, show_output
from superagent.surfaces.cli.tables import cell
from superagent.surfaces.cli.target import Answer, Event
from superagent.surfaces.cli.terminal import Screen

EVIL = "a\x1b[2J\u202eb\nc"
HARMLESS = "a\\x1b[2J\\u202eb\\nc"
UNDO = {"possible": True, "until": 1_800_000_000.0}
OUTCOME: dict[str, Any] = {
    "invocation": "01X",
    "operation": "files.write",
    "status": "done",
    "seconds": 0.5,
    "output": {"path": "/a", "bytes": 3},
    "effects": [{"resource": "path://local/a", "effect": "CHANGE", "before": None, "after": "1"}],
    "undo": UNDO,
}
PROBLEM: dict[str, Any] = {
    "type": "/problems/conflict",
    "title": "The state is another",
    "status": 409,
    "detail": "`/a` was changed",
    "changed": "partly",
    "partly": ["path://local/a"],
    "hint": "look again",
    "invocation": "01X",
    "fix": {"operation": "files.write", "input": {"path": "it's"}},
    "errors": [{"path": "$.a", "message": "too long"}],
}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(document: dict[str, Any], status: int = 200) -> str:
    out, err = io.StringIO(), io.StringIO()
    show_answer(Screen(out=out, err=err), Answer(status, document))
    assert not (out.getvalue() and err.getvalue())
    return out.getvalue() or err.getvalue()


def test_an_outcome_is_shown_with_its_effects_and_how_to_take_it_back() -> None:
    assert shown(OUTCOME) == (
        "done  files.write in 0.500 s  01X\n"
        "path   /a\n"
        "bytes  3\n"
        "CHANGE  path://local/a\n"
        "undo until 2027-01-15 08:00:00Z  superagent undo 01X\n"
    )


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"undo": {"possible": False, "why": "it is sent"}}, "no undo  it is sent"),
        ({"status": "waiting"}, "somebody else must approve it: superagent approvals approve 01X"),
        ({"status": "queued"}, "see how it goes: superagent watch 01X"),
        ({"output": {"handle": "res_1", "records": 3}}, "read it: superagent result read res_1"),
        (
            {"output": {"changes": {"applied": False, "view": "b3"}}},
            "its changes wait: superagent sandbox accept b3, or diff, or discard",
        ),
        ({"handle": "res_1"}, "the result is large: superagent result read res_1 (or call with --save FILE)"),
    ],
)
def test_an_outcome_names_the_next_step(more: dict[str, Any], line: str) -> None:
    assert line in shown(OUTCOME | more).splitlines()


def test_a_resource_that_was_changed_several_times_is_named_once() -> None:
    assert shown(OUTCOME | {"effects": OUTCOME["effects"] * 2}).count("CHANGE") == 1


def test_a_problem_is_shown_with_what_changed_the_hint_and_the_cure_as_a_command() -> None:
    assert shown(PROBLEM, 409).splitlines() == [
        "The state is another  conflict",
        "`/a` was changed",
        "  $.a  too long",
        "a part was changed",
        "  path://local/a",
        "hint  look again",
        'fix   superagent call files.write --input \'{"path": "it\'"\'"\'s"}\'',
        "01X",
    ]
    assert shown({"title": "Gone", "type": "/problems/x", "detail": "Gone"}, 404).splitlines() == ["Gone  x", ""]
    assert command_of("access.whoami", {}) == "superagent call access.whoami"


def test_nothing_that_came_from_outside_reaches_the_terminal_as_it_is() -> None:
    def everywhere(value: Any) -> Any:
        if isinstance(value, str):
            return EVIL
        if isinstance(value, dict):
            return {name: everywhere(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
        return [everywhere(one) for one in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]

    table = {"rows": [{EVIL: EVIL, "b": {EVIL: EVIL}}], "text": f"x\n{EVIL}", "diff": EVIL, EVIL: [EVIL]}
    for text in (
        shown(everywhere(OUTCOME) | {"output": table}),
        shown(everywhere(PROBLEM), 409),
        shown(OUTCOME | {"status": EVIL}),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert HARMLESS in shown(OUTCOME | {"operation": EVIL})


def test_tables_show_only_columns_that_say_something() -> None:
    out = io.StringIO()
    rows: list[dict[str, Any]] = [
        {"id": "a", "none": None, "list": [], "n": 0},
        {"id": "b", "none": None, "list": [], "n": 1},
    ]
    show_output(Screen(out=out), {"rows": rows, "empty": [{"x": None}]})
    assert [line.split() for line in out.getvalue().splitlines()] == [["id", "n"], ["a", "0"], ["b", "1"], ["x"], ["-"]]


def on_a_terminal(output: dict[str, Any], columns: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """Give the lines that a terminal of this width shows, and what is said beside them."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    show_output(Screen(out=out, err=err), output)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines(), err.getvalue()


ENTRY: dict[str, Any] = {
    "invocation": "01M8NEZXJYECMMD1HQN6MDCMDK",
    "operation": "access.keys.create",
    "principal": "owner",
    "session": "a-session",
    "resource": "path://local/srv/app/some/where/quite/deep/in/the/tree/of/files.txt",
    "effect": "CHANGE",
    "at": 1_800_000_000.0,
    "until": 1_800_600_000.0,
    "state": "undoable",
}


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        (80, "principal, at, effect, session, until"),
        (100, "at, effect, session, until"),
        (140, "until"),
        (200, ""),
    ],
)
def test_a_narrow_terminal_shows_the_most_telling_columns_and_says_which_it_does_not(
    monkeypatch: pytest.MonkeyPatch, columns: int, left: str
) -> None:
    lines, said = on_a_terminal({"entries": [ENTRY, ENTRY]}, columns, monkeypatch)
    assert max(map(len, lines)) <= columns
    assert (
        sum(ENTRY["invocation"] in line and "access.keys.create" in line and "undoable" in line for line in lines) == 2
    )
    assert said == (f"no room for {left}: a wider terminal shows them, and --json has all\n" if left else "")


def test_a_table_for_a_program_has_every_column_on_one_line() -> None:
    out = io.StringIO()
    show_output(Screen(out=out), {"entries": [ENTRY]})
    head, row = out.getvalue().splitlines()
    assert set(head.split()) == set(ENTRY)
    assert ENTRY["resource"] in row


def test_other_entries_show_all_that_they_have() -> None:
    out = io.StringIO()
    show_output(Screen(out=out), {"entries": [{"path": "a", "type": "file"}], "cursor": None})
    assert [line.split() for line in out.getvalue().splitlines()] == [["path", "type"], ["a", "file"]]


def test_a_list_of_grants_says_them_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    grant = {"effect": "allow", "subject": "agent:reader", "operations": ["files.*"], "where": {"paths": ["/srv/**"]}}
    grants = [{"id": "key_pciuzqh4kluje2mbsva37tej:1", "grant": grant}, {"id": "b", "grant": {"of": "a newer server"}}]
    lines, _ = on_a_terminal({"grants": grants}, 100, monkeypatch)
    assert lines[1].split(maxsplit=1) == [
        "key_pciuzqh4kluje2mbsva37tej:1",
        "allows files.* on /srv/**, to agent:reader",
    ]
    assert "a newer server" in lines[2]


def test_what_a_command_changed_is_a_section_with_its_diff() -> None:
    out = io.StringIO()
    changes = {
        "applied": True,
        "paths": [{"path": "a", "kind": "modified"}],
        "diff": "--- a/a\n+++ b/a\n",
        "view": None,
    }
    show_output(Screen(out=out), {"exit_code": 0, "changes": changes})
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["exit_code", "0"], ["changes:"], ["applied", "yes"], ["view", "-"], ["path", "kind"],
        ["a", "modified"], ["diff:"], ["---", "a/a"], ["+++", "b/a"],
    ]  # fmt: skip


def test_diffs_of_a_list_stand_below_it_as_they_are() -> None:
    out = io.StringIO()
    changes: list[dict[str, Any]] = [
        {
            "path": "a",
            "kind": "modified",
            "before": {"bytes": 2},
            "diff": "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+\x1b2\n",
        },
        {"path": "b", "kind": "created", "before": None, "diff": ""},
    ]
    show_output(Screen(out=out), {"view": "v", "changes": changes})
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "view  v", "path  kind", "a     modified", "b     created",
        "diff:", "--- a/a", "+++ b/a", "@@ -1 +1 @@", "-1", "+\\x1b2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("isolation", "line"),
    [
        (
            {"level": "native", "backend": "bubblewrap", "limits": {"cpu": "enforced"}, "network": "off"},
            "isolation  native (bubblewrap); network off; every limit held",
        ),
        (
            {
                "level": "native", "backend": "bubble\x1bwrap", "network": "listed",
                "limits": {"cpu": "enforced", "memory": "partial", "disk": "none", "names": "partial"},
            },
            "isolation  native (bubble\\x1bwrap); network listed; memory, names held in part; disk not held",
        ),
        (
            {"level": "none", "backend": "uncontained", "limits": {"cpu": "none"}, "network": "host"},
            "isolation  not contained; network host; cpu not held",
        ),
    ],
)  # fmt: skip
def test_how_a_command_was_contained_stands_on_one_line(isolation: dict[str, Any], line: str) -> None:
    assert line in shown(OUTCOME | {"isolation": isolation}).splitlines()


def test_keys_of_one_agent_are_told_apart_by_their_labels() -> None:
    out = io.StringIO()
    keys = [{"id": "key_1", "name": "bot", "label": ""}, {"id": "key_2", "name": "bot", "label": "reports"}]
    show_output(Screen(out=out), {"keys": keys})
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["id", "name", "label"], ["key_1", "bot"], ["key_2", "bot", "reports"],
    ]  # fmt: skip


def test_long_texts_stand_as_they_are_and_empty_ones_not_at_all() -> None:
    out = io.StringIO()
    show_output(Screen(out=out), {"content": "one\n  two\n", "diff": ""})
    assert out.getvalue() == "content:\none\n  two\n"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("a", None, "-"),
        ("a", [], "-"),
        ("a", True, "yes"),
        ("a", False, "no"),
        ("at", 0, "0"),
        ("size", 2_000_000_000, "2000000000"),
        ("created_at", 1_800_000_000, "2027-01-15 08:00:00Z"),
        ("started", 1_800_000_000, "2027-01-15 08:00:00Z"),
        ("due", [1_800_000_000.0, 1_800_000_060.0], "2027-01-15 08:00:00Z, 2027-01-15 08:01:00Z"),
        ("overlap_until", 1_800_000_000.5, "2027-01-15 08:00:00Z"),
        ("a", ["x", 1], "x, 1"),
        ("a", {"b": 1}, '{"b": 1}'),
        ("resources", [["path://local/a", "READ"]], "path://local/a READ"),
        ("a", 1.5, "1.5"),
    ],
)
def test_a_value_stands_on_one_line(name: str, value: object, text: str) -> None:
    assert cell(name, value) == text


def test_colour_is_for_terminals_only_and_not_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    diff = OUTCOME | {"output": {"diff": "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z\n"}}

    def coloured() -> str:
        out = Terminal()
        show_answer(Screen(out=out, err=Terminal()), Answer(200, diff))
        return out.getvalue()

    assert "\x1b[32m+y\x1b[0m" in coloured()
    assert "\x1b[31m-x\x1b[0m" in coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in coloured()


def event(kind: str, data: dict[str, Any], *, json: bool = False) -> str:
    out, err = io.StringIO(), io.StringIO()
    show_event(Screen(json=json, out=out, err=err), Event(kind, data))
    return out.getvalue() + err.getvalue()


def test_events_are_shown_on_a_line_each_and_the_end_as_an_outcome() -> None:
    assert event("message", {"kind": "created", "path": "/a", "to": None}) == "message  kind created  path /a  \n"
    assert event("message", {"kind": "progress", "text": "half", "fraction": 0.5}) == " 50%  half\n"
    assert event("message", {"kind": "progress", "text": "begun", "fraction": None}) == "begun\n"
    assert event("outcome", OUTCOME).startswith("done  files.write")
    assert event("outcome", OUTCOME | {"problem": PROBLEM}).startswith("The state is another")
    assert event("outcome", {"a": 1}, json=True) == '{"a": 1}\n'


def test_a_preview_within_an_output_is_a_section_of_its_own() -> None:
    out = io.StringIO()
    preview = {"summary": "would write", "changes": ["/a"], "diff": f"--- /a\n-x\n+{EVIL}", "conflicts": []}
    show_output(Screen(out=out), {"id": "01X", "preview": preview, "input": {"content": "y" * 3000}})
    text = out.getvalue()
    assert text.startswith("id     01X\ninput  {")
    assert "characters, all of them with --json)" in text
    assert "y" * 2001 not in text
    assert (
        "\npreview:\nsummary    would write\nchanges    /a\nconflicts  -\ndiff:\n--- /a\n-x\n+a\\x1b[2J\\u202eb\n"
        in text
    )


def test_a_request_without_a_preview_says_so_in_a_line() -> None:
    out = io.StringIO()
    show_output(Screen(out=out), {"id": "01X", "preview": None})
    assert out.getvalue() == "id       01X\npreview  -\n"


def test_a_long_text_is_never_cut() -> None:
    assert cell("content", "x" * 5000) == "x" * 5000


def test_who_decides_sees_every_character_and_who_reads_a_text_reads_it() -> None:
    text = "می\u200cخواهم\nthe rest\n"
    read = {**OUTCOME, "operation": "files.read", "output": {"content": text}}
    asked = {**OUTCOME, "operation": "approvals.show", "output": {"preview": {"said": text}}}
    changed = {**OUTCOME, "output": {"diff": f"--- a\n+++ a\n+{text}"}}
    assert "می\u200cخواهم" in shown(read)
    assert [r"می\u200cخواهم" in shown(one) for one in (read, asked, changed)] == [False, True, True]
