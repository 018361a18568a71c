"""A secret reaches the command line by a prompt that shows nothing or by standard input, and never as an argument."""

from __future__ import annotations

import os
import secrets as randomness
import subprocess
import sys
from pathlib import Path

import pytest

from superagent.surfaces.cli import hidden
from superagent.surfaces.cli.hidden import MOST_BYTES, hidden_input
from superagent.surfaces.cli.options import Usage
from tests.surfaces.cli.command_line import ENTRY, environment, set_up
from tests.surfaces.cli.conftest import Cli

VALUE = "hunter22-in-the-vault"


@pytest.fixture
def name() -> str:
    return f"token-{randomness.token_hex(4)}"


def in_list(cli: Cli, name: str) -> list[int]:
    found = cli("secrets", "list", "--prefix", name, "--json").document["output"]["secrets"]
    return [one["version"] for one in found]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_secret_comes_from_standard_input_without_its_line_break(cli: Cli, name: str, ending: bytes) -> None:
    """The same value under the same key is the same call: so the break was cut off."""
    ran = cli("secrets", "put", name, "--key", name, "--json", stdin=VALUE.encode() + ending)
    again = cli("secrets", "put", name, "--key", name, "--value", "-", "--json", stdin=VALUE.encode())
    assert (ran.code, ran.document["output"]) == (0, {"name": name, "version": 1})
    assert again.document["invocation"] == ran.document["invocation"]
    assert VALUE not in ran.out + ran.err
    assert in_list(cli, name) == [1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("secrets", "put", "NAME", VALUE), ("secrets", "put", "NAME", "--value", VALUE),
        ("secrets", "put", "NAME", f"--value={VALUE}"), ("secrets.put", VALUE, "--name", "NAME"),
        ("secrets", "rotate", "NAME", VALUE, "--overlap-s", "60"),
        ("call", "secrets.put", "--input", f'{{"name": "NAME", "value": "{VALUE}"}}'),
    ],
)  # fmt: skip
def test_a_secret_that_was_typed_is_refused_with_what_to_do_and_not_repeated(
    cli: Cli, name: str, arguments: tuple[str, ...]
) -> None:
    ran = cli(*(one.replace("NAME", name) for one in arguments), stdin=b"another value of it")
    assert ran.code == 2
    assert "seen by every program on this machine, and kept by the shell" in ran.err
    assert "take another value" in ran.err
    assert VALUE not in ran.out + ran.err
    assert in_list(cli, name) == []


def test_an_input_from_a_file_may_hold_a_secret_and_what_is_no_secret_may_be_typed(cli: Cli, name: str) -> None:
    text = f'{{"name": "{name}", "value": "{VALUE}"}}'.encode()
    assert cli("call", "secrets.put", "-f", "-", "--json", stdin=text).code == 0
    assert cli("call", "secrets.delete", "--input", f'{{"name": "{name}"}}', "--json").code == 0
    assert cli("call", "no.such", "--input", '{"value": "x"}', "--json").code == 1


@pytest.mark.parametrize("stdin", [b"", b"\n", b"\r\n", b"\xff\xfe", b"x" * (MOST_BYTES + 1)])
def test_what_is_no_text_is_refused(cli: Cli, name: str, stdin: bytes) -> None:
    ran = cli("secrets", "put", name, stdin=stdin)
    assert ran.code == 2
    assert "`value`" in ran.err
    assert in_list(cli, name) == []


def test_help_says_how_it_is_given(cli: Cli) -> None:
    shown = cli("secrets", "put", "--help").out
    assert "superagent secrets put NAME [flags]" in shown
    assert "never typed here" in shown
    assert "superagent secrets put github-token\n" in shown + "\n"


SEATED = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_at_a_terminal_it_is_asked_for_without_showing_it(tmp_path: Path, name: str) -> None:
    data = str(set_up(tmp_path / "data"))
    command = [sys.executable, "-c", SEATED, *ENTRY, "--data", data, "secrets", "put", name, "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as seated:
        assert seated.stdin is not None
        assert seated.stdout is not None
        shown = b""
        while b"value (not shown): " not in shown:
            more = os.read(seated.stdout.fileno(), 4096)
            assert more, shown
            shown += more
        seated.stdin.write(VALUE.encode() + b"\n")
        seated.stdin.flush()
        shown += seated.stdout.read()
    assert seated.returncode == 0, shown
    assert b'"version": 1' in shown
    assert VALUE.encode() not in shown


class Terminal:
    """A standard input where somebody sits who types nothing."""

    def isatty(self) -> bool:
        return True


def test_an_empty_answer_at_the_prompt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden.sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: "")  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(Usage, match="`value` is empty"):
        hidden_input("value")
