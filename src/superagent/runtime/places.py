"""Places: where an installation keeps what, made with the right modes, and which of them no grant ever reaches."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from superagent.core.problems import Unavailable
from superagent.core.resources import Protected

_MADE_FIRST = frozenset({"lock", "owner.key"})
"""Of these one is in the state folder of every installation, also while the first start still goes on."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one installation, by real path."""

    data: Path

    @property
    def state(self) -> Path:
        """Give the folder of everything secret (mode 0700)."""
        return self.data / "state"

    @property
    def workspaces(self) -> Path:
        """Give the folder of the agents' workspaces."""
        return self.data / "workspaces"

    @property
    def owner_key(self) -> Path:
        """Give the file that holds the owner's key."""
        return self.state / "owner.key"

    def own(self) -> list[str]:
        """Give the places that belong to the platform itself (rules.md 8): data, virtual environment, code."""
        code = Path(__file__).resolve().parents[1]
        found = [self.data, code]
        if sys.prefix != sys.base_prefix:
            found.append(Path(sys.prefix).resolve())
        return [str(place) for place in found]

    def inner(self) -> list[str]:
        """Give what lies inside and matters most, so that a mount of just that part is closed as well."""
        return [str(path) for path in sorted(self.state.iterdir())]

    def protected(self) -> Protected:
        """Give the same for judging names."""
        return Protected(tuple(self.own()), str(self.workspaces))


def set_up(data: Path) -> bool:
    """Tell whether an installation was set up in a folder; what cannot be looked into may hold one."""
    try:
        return bool(_MADE_FIRST & set(os.listdir(data / "state")))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def existing(data: Path) -> Places:
    """Give the places of an installation that was set up before.

    A mistyped folder must not become an installation by being asked. Raises `Unavailable` where there is none, and what
    `prepare` raises.
    """
    if not set_up(data):
        raise Unavailable(f"nothing is set up in `{data.absolute()}`", hint=elsewhere(data))
    return prepare(data)


def elsewhere(data: Path) -> str:
    """Say what to do about a folder in which nothing is set up."""
    return (
        "name the folder of your installation with `--data` or SUPERAGENT_DATA;"
        f" `superagent up --data {shlex.quote(str(data))}` sets up a new one there"
    )


def prepare(data: Path) -> Places:
    """Make the data folder and what lies in it.

    Raises `Unavailable` when the state folder is a link, belongs to somebody else or cannot be closed to others.
    """
    try:
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        places = Places(data.resolve())
        places.state.mkdir(mode=0o700, exist_ok=True)
        places.workspaces.mkdir(mode=0o755, exist_ok=True)
        found = os.lstat(places.state)
    except OSError as bad:
        raise Unavailable(
            f"the data folder `{data}` cannot be made: {bad.strerror}", hint="choose another with `--data`"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Unavailable(
            f"`{places.state}` is not a folder of this user",
            hint="start as the user that owns it, or choose another `--data`",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(places.state, 0o700)
    return places
