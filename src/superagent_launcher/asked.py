"""What the server asks for, checked to the last field: a launcher believes nothing that it was not told exactly so."""

from __future__ import annotations

from typing import Any, cast

MOST_RUN = 2**53
OPTIONS_NEEDED = ("--unshare-user", "--unshare-pid", "--die-with-parent")
MOST_TEXT = 131_071  # MAX_ARG_STRLEN of Linux, without the NUL: execve takes no longer string
MOST_ARGUMENTS = 65_536
LIMITS = ("memory_bytes", "processes", "cpus", "cpu_s", "file_bytes", "open_files", "wall_s")
_PLACE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Refused(Exception):
    """This is not done, and why."""


class Start:
    """One sandbox to start.

    `options` are bubblewrap's, all given through a descriptor; `command` is what runs inside. `numbers` says under
    which numbers the first descriptors of the message are seen inside of bubblewrap; `mounts` names the others, which
    are folders: each is put at that name where bubblewrap can reach it. `uid` None keeps the launcher's own user.
    `limits` hold what is in `LIMITS`; times in seconds.
    """

    __slots__ = ("command", "limits", "mounts", "numbers", "options", "program", "run", "uid")

    def __init__(self, said: dict[str, Any], descriptors: int) -> None:
        said = _fields(said, "do run fds program options command numbers mounts uid limits")
        self.run = run_of(said)
        self.program = _text(said["program"], "program")
        self.options = _texts(said["options"], "options")
        self.command = _texts(said["command"], "command")
        self.numbers = [_whole(one, 0, 255, "a number") for one in _list(said["numbers"], "numbers")]
        self.mounts = _texts(said["mounts"], "mounts")
        self.uid = None if said["uid"] is None else _whole(said["uid"], 1, 2**32 - 2, "uid")
        self.limits = _limits(said["limits"])
        if not self.command:
            raise Refused("there is no command")
        if not {0, 1, 2} <= set(self.numbers):
            raise Refused("the three streams must be given: the launcher has none of its own to lend")
        if len(set(self.numbers)) < len(self.numbers) or len(set(self.mounts)) < len(self.mounts):
            raise Refused("a number or a place is given twice")
        if any(not one or not _PLACE.issuperset(one) for one in self.mounts):
            raise Refused("a place is named by small letters, digits and `-`")
        if len(self.numbers) + len(self.mounts) != descriptors:
            raise Refused(f"{descriptors} descriptors came, {len(self.numbers) + len(self.mounts)} are named")
        _check_options(self.options)


def run_of(said: dict[str, Any]) -> int:
    """Give the number by which the server speaks of a run. Raises `Refused`."""
    return _whole(said.get("run"), 0, MOST_RUN, "run")


def number_of(said: dict[str, Any]) -> int:
    """Give the signal to send. Raises `Refused`."""
    return _whole(_fields(said, "do run number fds")["number"], 1, 64, "number")


def _check_options(options: list[str]) -> None:
    # words are looked at wherever they stand, so a value that looks like a word counts too: that only refuses more
    for one in OPTIONS_NEEDED:
        if one not in options:
            raise Refused(f"nothing is started without {one}")
    for word in ("--share-net", "--userns", "--userns2", "--pidns", "--args", "--cap-add"):
        if word in options:
            raise Refused(f"nothing is started with {word}")
    if any(one in ("--uid", "--gid") and options[at + 1 : at + 2] == ["0"] for at, one in enumerate(options)):
        raise Refused("nothing runs as user or group 0, inside neither")


def _limits(said: Any) -> dict[str, float]:
    found = _fields(said, " ".join(LIMITS))
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**62:
            raise Refused(f"the limit `{name}` is no positive number")
    return found


def _fields(said: Any, names: str) -> dict[str, Any]:
    wanted = set(names.split())
    if isinstance(said, dict):
        found = cast("dict[str, Any]", said)
        if wanted - {"fds"} <= found.keys() <= wanted:
            return found
    raise Refused(f"the fields must be {', '.join(sorted(wanted))}")


def _whole(value: Any, least: int, most: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refused(f"`{name}` must be a whole number from {least} to {most}")
    return value


def _text(value: Any, name: str) -> str:
    try:
        if isinstance(value, str) and "\0" not in value and len(value.encode()) <= MOST_TEXT:
            return value
    except UnicodeEncodeError:
        pass  # half of a character
    raise Refused(f"`{name}` must be text of at most {MOST_TEXT} bytes without NUL")


def _texts(value: Any, name: str) -> list[str]:
    return [_text(one, name) for one in _list(value, name)]


def _list(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        found = cast("list[Any]", value)
        if len(found) <= MOST_ARGUMENTS:
            return found
    raise Refused(f"`{name}` must be a list of at most {MOST_ARGUMENTS}")
