"""What the server asks for, checked to the last field: a launcher believes nothing that it was not told exactly so."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

MOST_RUN = 2**53
OPTIONS_NEEDED = ("--unshare-user", "--unshare-pid", "--die-with-parent")
MOST_TEXT = 131_071  # MAX_ARG_STRLEN of Linux, without the NUL: execve takes no longer string
MOST_ARGUMENTS = 65_536
LIMITS = ("memory_bytes", "processes", "cpus", "cpu_s", "file_bytes", "open_files", "wall_s")
_HEXADECIMAL = frozenset("0123456789abcdef")
_PLACE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Refused(Exception):
    """This is not done, and why."""


class Gone(Refused):
    """The child that was to do it has ended before it had the whole job, so nothing was done: another one can."""


class Start:
    """One sandbox to start.

    `options` are bubblewrap's, all given through a descriptor; `command` is what runs inside. `numbers` says under
    which numbers the first descriptors of the message are seen inside of bubblewrap; `mounts` names the others, which
    are folders: each is put at that name where bubblewrap can reach it. `uid` None keeps the launcher's own user.
    `limits` hold what is in `LIMITS`; times in seconds. `view`, if there is one, is mounted before bubblewrap.
    `confine`, if there is one, holds the command by Landlock instead of bubblewrap, and then there are no options; with
    an empty filter nothing holds it, which must have been allowed when the launcher was started (`uncontained`).
    `ground` is what of that is the same for all commands of a user, so a child can be readied for it ahead.
    """

    __slots__ = (
        "command", "confine", "ground", "limits", "mounts", "numbers", "options", "program", "run", "uid", "view",
    )  # fmt: skip

    def __init__(self, said: dict[str, Any], descriptors: int, *, uncontained: bool = False) -> None:
        said = _fields(said, "do run fds program options command numbers mounts uid limits", "view confine")
        self.run = run_of(said)
        self.program = _text(said["program"], "program")
        self.options = _texts(said["options"], "options")
        self.command = _texts(said["command"], "command")
        self.numbers = [_whole(one, 0, 255, "a number") for one in _list(said["numbers"], "numbers")]
        self.mounts = _texts(said["mounts"], "mounts")
        self.uid = None if said["uid"] is None else _whole(said["uid"], 1, 2**32 - 2, "uid")
        self.limits = _limits(said["limits"])
        self.view = _view(said.get("view"))
        self.confine = _confine(said.get("confine"), self.mounts, uncontained=uncontained)
        self.ground = ground_of(self.confine, self.uid, self.limits)
        if not self.command:
            raise Refused("there is no command")
        if not {0, 1, 2} <= set(self.numbers):
            raise Refused("the three streams must be given: the launcher has none of its own to lend")
        if len(set(self.numbers)) < len(self.numbers) or len(set(self.mounts)) < len(self.mounts):
            raise Refused("a number or a place is given twice")
        if any(not one or not _PLACE.issuperset(one) for one in self.mounts):
            raise Refused("a place is named by small letters, digits and `-`")
        named = len(self.numbers) + len(self.mounts) + (self.view is not None and self.view["bytes"] > 0)
        if named != descriptors:
            raise Refused(f"{descriptors} descriptors came, {named} are named")
        if self.confine is None:
            _check_options(self.options)
        elif self.options or self.view is not None:
            raise Refused("what is held by Landlock has neither options nor a view that is mounted")


def run_of(said: dict[str, Any]) -> int:
    """Give the number by which the server speaks of a run. Raises `Refused`."""
    return _whole(said.get("run"), 0, MOST_RUN, "run")


def number_of(said: dict[str, Any]) -> int:
    """Give the signal to send. Raises `Refused`."""
    return _whole(_fields(said, "do run number fds")["number"], 1, 64, "number")


def times_of(said: dict[str, Any]) -> tuple[float, float]:
    """Give how long a run may take, and since when that counts, both in seconds. Raises `Refused`."""
    found = _fields(said, "do run wall_s since_s fds")
    for name, least in (("wall_s", 1e-6), ("since_s", 0)):
        value = found[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 2**31:
            raise Refused(f"`{name}` is no number of seconds")
    return found["wall_s"], found["since_s"]


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


def _view(said: Any) -> dict[str, Any] | None:
    """Read a view: `lower` and the folder that holds `upper`, `work` and `merged`, as the child reaches them.

    With `bytes`, what is written is held in memory, at most so many and `files` of them; one more descriptor then comes
    last, a socket, on which a descriptor of that memory is handed out.
    """
    if said is None:
        return None
    found = _fields(said, "lower folder bytes files")
    return {
        "lower": _text(found["lower"], "lower"),
        "folder": _text(found["folder"], "folder"),
        "bytes": _whole(found["bytes"], 0, 2**62, "bytes"),
        "files": _whole(found["files"], 0, 2**31, "files"),
    }


def _confine(said: Any, mounts: list[str], *, uncontained: bool) -> dict[str, Any] | None:
    """Read how Landlock holds a command: what it may read, which of the folders that came along it may write, devices.

    `filter` is the system call filter in hexadecimal; without one the network would be open, so it must be there.
    """
    if said is None:
        return None
    found = _fields(said, "readable writable devices filter env cwd")
    env = _list(found["env"], "env")
    pairs = [_texts(one, "env") for one in env]
    filter = _text(found["filter"], "filter")
    confine = {
        "readable": _texts(found["readable"], "readable"),
        "writable": _texts(found["writable"], "writable"),
        "devices": _texts(found["devices"], "devices"),
        "filter": filter,
        "env": dict(one for one in pairs if len(one) == 2),
        "cwd": _text(found["cwd"], "cwd"),
    }
    if not _whole_instructions(filter) or not (filter or uncontained):
        raise Refused("`filter` must be whole instructions in hexadecimal")
    if not set(confine["writable"]) <= set(mounts) or not set(mounts) <= {"workspace", "scratch"}:
        raise Refused("the folders are `workspace` and `scratch`")
    return confine


@lru_cache(4)
def _whole_instructions(text: str) -> bool:
    """Tell whether a filter is what it should be; there are few, and looking at each character takes its time."""
    return _HEXADECIMAL.issuperset(text) and len(text) % 16 == 0


def ground_of(confine: dict[str, Any] | None, uid: int | None, limits: dict[str, float]) -> dict[str, Any] | None:
    """Take out of a confinement what is known before its command is; None for what bubblewrap holds."""
    if confine is None:
        return None
    return {"uid": uid, "limits": limits, **{name: confine.pop(name) for name in ("readable", "devices", "filter")}}


def _fields(said: Any, names: str, optional: str = "") -> dict[str, Any]:
    wanted = {*names.split(), *optional.split()}
    if isinstance(said, dict):
        found = cast("dict[str, Any]", said)
        if wanted - {"fds", *optional.split()} <= found.keys() <= wanted:
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
