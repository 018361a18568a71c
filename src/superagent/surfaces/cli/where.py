"""Where a call goes: to the server that was named, else the one that holds the data folder, else a kernel in here."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

from superagent.core.principal import Secret
from superagent.core.problems import Unavailable
from superagent.surfaces.cli.launch import Launch
from superagent.surfaces.cli.options import Usage
from superagent.surfaces.cli.target import Target
from superagent.surfaces.cli.terminal import Screen

LOCK_WAIT_S = 10.0
STEP_S = 0.1
_LONGEST_KEY = 4096


def reach(given: argparse.Namespace, launch: Launch, screen: Screen) -> Target:
    """Find where this command's calls go (rules.md 28). Raises a problem that names who holds the folder.

    An explicit key is used wherever the call goes: only without one the command acts as the owner of the data folder.
    """
    key = explicit_key(getattr(given, "api_key_file", ""))
    server: str = getattr(given, "server", "")
    if server:
        from superagent.surfaces.cli.remote import Remote

        remote = Remote(server, key or _login(given, launch, server))
        if remote.in_the_clear:
            screen.note("warning: this key travels unencrypted; use https, or an SSH tunnel")
        return remote
    return _at(folder(given, launch), key, launch)


def _login(given: argparse.Namespace, launch: Launch, server: str) -> Callable[[], Secret]:
    """Give what keeps the token of who logged in at a server. Raises `Usage` where nobody did."""
    from superagent.surfaces.cli.logins import Login

    login = Login(folder(given, launch), server)
    if not login.known:
        raise Usage(
            "`--server` needs somebody to act for",
            f"log in by `superagent login --server {server}`, give `--api-key-file FILE`, or set SUPERAGENT_API_KEY",
        )
    return login.token


def folder(given: argparse.Namespace, launch: Launch) -> Path:
    """Give the data folder of parsed options."""
    return launch.data_folder(getattr(given, "data", ""))


def explicit_key(file: str) -> Secret | None:
    """Give the key that the caller chose, None when it chose none. Raises `Usage`."""
    if not file:
        text = os.environ.get("SUPERAGENT_API_KEY", "")
        where = "SUPERAGENT_API_KEY"
    else:
        where = f"`{file}`"
        try:
            with open(file, encoding="utf-8") as opened:
                text = opened.read(_LONGEST_KEY + 1)
        except (OSError, UnicodeDecodeError) as bad:
            raise Usage(
                f"the key file {where} cannot be read: {getattr(bad, 'strerror', None) or 'it is no text'}"
            ) from None
    key = text.strip()
    if not key and not file:
        return None
    if not key.isascii() or not key.isprintable() or " " in key or not 0 < len(key) <= _LONGEST_KEY:
        raise Usage(f"{where} holds no API key", "a key is one line, such as `superagent keys create NAME` prints")
    return Secret(key)


def _at(data: Path, key: Secret | None, launch: Launch) -> Target:
    from superagent.runtime.instance_lock import Holder, claim, held_by
    from superagent.runtime.places import existing

    places = existing(data)
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        found = claim(places.state, time.time(), max(0.0, until - time.monotonic()))
        if not isinstance(found, Holder):
            break
        from superagent.runtime.tls import PINNED
        from superagent.surfaces.cli.remote import Remote

        remote = Remote(found.address, key or _owner_key(places.owner_key), places.state / PINNED)
        if remote.answers():
            return remote
        if time.monotonic() >= until:  # it holds the folder, and has long stopped to listen
            raise held_by(places.state)
        time.sleep(STEP_S)
    from superagent.surfaces.cli.embedded import Embedded

    return Embedded(launch, places.data, key, found)


def _owner_key(path: Path) -> Secret:
    from superagent.runtime.key_files import create_or_read

    try:
        return Secret(create_or_read(path, None).decode("ascii").strip())
    except (FileNotFoundError, UnicodeDecodeError):
        raise Unavailable(
            f"there is no owner's key at `{path}`", hint="give a key with `--api-key-file` or SUPERAGENT_API_KEY"
        ) from None
