"""The command where no namespace can be had: what it is held by is laid out before it is known, and then closed."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from superagent_launcher import landlock


class Standing:
    """A process that is to be confined, with all done that is the same for every command; `ground` says what that is.

    It is the leader of a session of its own. What cannot be had is kept until somebody can read of it.
    """

    def __init__(self, ground: dict[str, Any]) -> None:
        self._ruleset: landlock.Ruleset | None = None
        self._failed: OSError | None = None
        program = bytes.fromhex(ground["filter"])
        try:
            os.setsid()
            if program:  # else nothing is to hold it, as whoever started the launcher allowed
                self._ruleset = landlock.Ruleset()
                for places, rights in ((ground["readable"], landlock.READING), (ground["devices"], landlock.USING)):
                    self._ruleset.allow_those_there(places, rights)
                # it leaves what is still to be done, to take a job and to give up more, and takes the kernel a while
                landlock.filter_calls(program)
        except OSError as bad:
            self._failed = bad

    def become(self, confine: dict[str, Any], argv: list[str], places: dict[str, int]) -> NoReturn:
        """Execute a command confined; comes back only by raising `OSError`.

        `places` are folders by name, open as descriptors that nobody can exchange: `workspace`, where it begins in the
        folder `cwd`, and `scratch`.
        """
        if self._failed is not None:
            raise self._failed
        if "workspace" in places:
            os.fchdir(places["workspace"])
        if self._ruleset is not None:
            for name, one in places.items():
                self._ruleset.allow(one, landlock.WRITING if name in confine["writable"] else landlock.READING)
            self._ruleset.enforce()
        if confine["cwd"]:
            os.chdir(confine["cwd"])
        _execute(argv, confine["env"])


def _execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Execute a program by its path, or by its name in one of the folders of `PATH`. Raises `OSError`."""
    # not by `os.execvpe`, which loads a module that this user may be unable to read
    folders = [""] if "/" in argv[0] else [f"{one}/" for one in env.get("PATH", "").split(":") if one]
    failed = OSError("no `PATH`")
    for folder in folders:
        try:
            os.execve(folder + argv[0], argv, env)  # noqa: S606 - a shell is what is not wanted
        except (FileNotFoundError, NotADirectoryError, PermissionError) as bad:
            failed = bad
    raise OSError(failed.errno or 0, f"{argv[0]}: {failed.strerror or failed}")
