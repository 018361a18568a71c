"""Mount an overlay without any privilege, then become another program: for a bubblewrap that cannot do it itself.

Imports nothing of ours, so that it can run in a process that holds nothing: `python -I -S overlay_mount.py LOWER UPPER
WORK MERGED -- PROGRAM ARGUMENT …`. The mount lives in a user and mount namespace of its own and ends with the last
process in it; nothing of it is ever seen outside.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

# sched.h, sys/mount.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x4000, 0x80000
_PR_SET_DUMPABLE = 4  # linux/prctl.h
UPPER = "upper"
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def enter(lower: str, upper: str, work: str, merged: str, memory: str = "") -> int:
    """Go into fresh user and mount namespaces and mount the overlay at `merged`.

    With `memory`, the options of a file system in memory (tmpfs(5): `size=…,nr_inodes=…`), one of that size is put over
    `work` and takes what is written, under `upper` in it, with the mode of `upper`: so it can hold no more. It ends
    with the last process in it, unless somebody holds the descriptor of it that is given then (-1 otherwise).

    The process must have one thread and hold no secret: to name its user it is open to debuggers of that user for a
    moment. What runs here afterwards has no right it did not have before: the namespace knows this one user, and the
    rights inside it end with the next program that is executed. Raises `OSError`.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "user namespace")
    # a process that has just changed its user does not own its files in /proc (prctl(2), PR_SET_DUMPABLE)
    _call(libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0), "dumpable")
    for name, text in (
        ("setgroups", b"deny"),
        ("uid_map", b"%d %d 1" % (uid, uid)),
        ("gid_map", b"%d %d 1" % (gid, gid)),
    ):
        # nothing here may need a module that is loaded on first use: this user may not be able to read it
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text)
        finally:
            os.close(fd)
    _call(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None), "private mounts")
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    area = -1
    if memory:
        mode = stat.S_IMODE(os.stat(upper).st_mode)
        given = f"mode=0700,{memory}".encode()
        _call(libc.mount(b"superagent", os.fsencode(work), b"tmpfs", flags, given), "memory")
        area = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        upper, work = f"{work}/{UPPER}", f"{work}/work"
        for path in (upper, work):
            os.mkdir(path, 0o700)
        os.chmod(upper, mode)
    # by descriptor: no name needs escaping, a swapped link is refused, and the mount table inside tells no host path
    held = [os.open(path, _DIRECTORY) for path in (lower, upper, work)]
    try:
        options = "lowerdir=/proc/self/fd/{},upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{},userxattr"
        data = options.format(*held).encode()
        _call(libc.mount(b"overlay", os.fsencode(merged), b"overlay", flags, data), "overlay")
    finally:
        for fd in held:
            os.close(fd)
    _call(libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0), "dumpable")
    return area


def _call(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def main(arguments: list[str]) -> None:
    """Mount, then become the program after `--`. Exits with 125 and a line on stderr when the mount is refused."""
    places, program = arguments[:4], arguments[5:]
    if arguments[4:5] != ["--"] or not program:
        sys.exit("usage: overlay_mount.py LOWER UPPER WORK MERGED -- PROGRAM ARGUMENT …")
    try:
        enter(*places)
    except OSError as error:
        sys.stderr.write(f"overlay_mount: {error.strerror}\n")
        sys.exit(125)
    os.execv(program[0], program)  # noqa: S606 - becoming bubblewrap is what this is for


if __name__ == "__main__":
    main(sys.argv[1:])
