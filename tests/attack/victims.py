"""Things to attack that harm nobody: files, databases, descriptors and terminals of the test's own."""

from __future__ import annotations

import os
import pty
import shutil
import sqlite3
import stat
import termios
from contextlib import ExitStack
from pathlib import Path

from tests.attack.ground import Ground
from tests.needs import missing, program

UNHARMED = "unharmed"


def secret(ground: Ground, _stack: ExitStack) -> None:
    """Lay a file outside of the workspace that permissions do not protect."""
    path = ground.folder / "secret.txt"
    path.write_text(ground.token)
    ground.given["secret"] = str(ground.own(path, 0o644))


def canary(ground: Ground, _stack: ExitStack) -> None:
    """Lay a file outside of the workspace that everybody may write; it must stay as it is."""
    path = ground.folder / "canary.txt"
    path.write_text(UNHARMED)
    before = ground.own(path, 0o666).stat()

    def changed() -> str:
        if not path.exists():
            return "the canary is gone"
        now = path.stat()
        if path.read_text() != UNHARMED:
            return "the canary was written"
        same = (now.st_mode, now.st_nlink, now.st_mtime_ns) == (before.st_mode, before.st_nlink, before.st_mtime_ns)
        return "" if same else "the canary's mode, links or times were changed"

    ground.given["canary"] = str(path)
    ground.checks.append(changed)


def server_data(ground: Ground, _stack: ExitStack) -> None:
    """Lay out a data folder as the server has it: the owner's key and a database."""
    state = ground.folder / "data" / "state"
    state.mkdir(parents=True)
    (state / "owner.key").write_text(ground.token)
    database = state / "superagent.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("create table key (value text)")
        connection.execute("insert into key values (?)", (ground.token,))
    connection.close()
    for path in (state / "owner.key", database, state, state.parent):
        ground.own(path, 0o755 if path.is_dir() else 0o600)
    ground.given["state"] = str(state)


def shared_tmp(ground: Ground, stack: ExitStack) -> None:
    """Leave something in the host's folder for everybody's temporary files."""
    path = Path("/tmp") / f"attack-{ground.token}"
    path.write_text(ground.token)
    stack.callback(path.unlink, missing_ok=True)
    path.chmod(0o666)


def shared_memory(ground: Ground, stack: ExitStack) -> None:
    """Leave something in the host's shared memory."""
    path = Path("/dev/shm") / f"attack-{ground.token}"
    path.write_text(ground.token)
    stack.callback(path.unlink, missing_ok=True)
    path.chmod(0o666)


def server_environment(ground: Ground, stack: ExitStack) -> None:
    """Put a secret into the environment of the process that starts the sandbox."""
    os.environ["SUPERAGENT_ATTACK"] = ground.token
    stack.callback(os.environ.pop, "SUPERAGENT_ATTACK")


def open_file(ground: Ground, stack: ExitStack) -> None:
    """Forget an inheritable descriptor of a secret file in the process that starts the sandbox."""
    path = ground.folder / "open.txt"
    path.write_text(ground.token)
    _leak(stack, path)
    path.unlink()


def open_folder(ground: Ground, stack: ExitStack) -> None:
    """Forget an inheritable descriptor of a folder of the host."""
    ground.given["leaked"] = _leak(stack, ground.folder)


def _leak(stack: ExitStack, path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    stack.callback(os.close, fd)
    os.set_inheritable(fd, True)
    return fd


def terminal(ground: Ground, stack: ExitStack) -> None:
    """Give the command a terminal that somebody else will read from later."""
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    mode = termios.tcgetattr(slave)
    mode[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    os.set_blocking(slave, False)

    def typed() -> str:
        try:
            keys = os.read(slave, 100)
        except BlockingIOError:
            return ""
        return f"{keys!r} was typed into the terminal"

    if os.geteuid() == 0:
        os.fchown(slave, ground.uid, -1)
    ground.terminal = slave
    ground.checks.append(typed)


def console(ground: Ground, stack: ExitStack) -> None:
    """Give the command a virtual console as its terminal."""
    try:
        fd = os.open("/dev/tty63", os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        missing(f"there is no virtual console: {error}")
        return
    stack.callback(os.close, fd)
    ground.terminal = fd


def set_uid_file(ground: Ground, _stack: ExitStack) -> None:
    """Lay a set-uid program of the host's root into the workspace; it only says who it is."""
    if os.geteuid():
        missing("only root can make a set-uid file of root")
    path = ground.workspace / "who"
    shutil.copyfile(program("id"), path)
    path.chmod(0o4755)
    assert path.stat().st_mode & stat.S_ISUID
    ground.given["program"] = f"{ground.inside}/who"


def device_node(ground: Ground, _stack: ExitStack) -> None:
    """Lay a device node into the workspace: the one that gives zeros."""
    if os.geteuid():
        missing("only root can make a device node")
    path = ground.workspace / "zero"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    path.chmod(0o666)
    ground.given["device"] = f"{ground.inside}/zero"


def planted(ground: Ground, _stack: ExitStack) -> None:
    """Look for set-uid files in the workspace afterwards."""

    def found() -> str:
        files = [path.name for path in ground.workspace.iterdir() if path.stat().st_mode & stat.S_ISUID]
        return f"set-uid files were planted: {files}" if files else ""

    ground.checks.append(found)


def loader_trace(ground: Ground, _stack: ExitStack) -> None:
    """Look for what the dynamic loader writes when it listens to the wrong environment."""
    ground.given["trace"] = str(ground.folder / "trace")

    def found() -> str:
        return "a program outside of the sandbox took its environment" if any(ground.folder.glob("trace.*")) else ""

    ground.checks.append(found)


def own_cgroup(ground: Ground, stack: ExitStack) -> None:
    """Make a memory group that the sandbox's user may change, as a careless delegation would."""
    if os.geteuid():
        missing("only root can make a control group here")
    path = Path("/sys/fs/cgroup/memory") / f"attack-{ground.token}"
    try:
        path.mkdir()
    except OSError as error:
        missing(f"there are no control groups of version 1 here: {error}")
    stack.callback(path.rmdir)
    limit = path / "memory.limit_in_bytes"
    limit.write_text(str(1 << 30))
    os.chown(limit, ground.uid, ground.uid)
    ground.given["limit"] = str(limit)
    ground.checks.append(lambda: "" if limit.read_text().strip() == str(1 << 30) else "the limit was raised")
