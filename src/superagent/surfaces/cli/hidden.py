"""Hidden: how a secret reaches the command line without being seen: a prompt that shows nothing, or standard input."""

from __future__ import annotations

import sys

from superagent.surfaces.cli.options import Usage

MOST_BYTES = 1024 * 1024


def hidden_input(name: str) -> str:
    """Ask for a secret; where nobody sits at a terminal, read all of standard input without its last line break.

    Raises `Usage` when there is nothing, or no text.
    """
    if sys.stdin.isatty():
        from getpass import getpass  # asks the terminal itself, also when the output goes elsewhere

        value = getpass(f"{name} (not shown): ")
    else:
        value = _read_text(name)
    if not value:
        raise Usage(f"`{name}` is empty", "type it at the prompt, or send it to standard input")
    return value


def _read_text(name: str) -> str:
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Usage(f"`{name}` is longer than {MOST_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Usage(f"`{name}` is no text in UTF-8", "encode it, for example with base64") from None
    return text.removesuffix("\n").removesuffix("\r")
