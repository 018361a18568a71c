"""The capability `processes`: whose processes a caller may know of, and which are the platform's own."""

from __future__ import annotations

import os

from superagent.core.context import Context
from superagent.core.kernel import Kernel

HOST = "settings.set"
"""Whoever may do this to the installation may know of the machine that it runs on."""

# fields of proc(5) `stat`, counted from the one after the name; the flag is PF_KTHREAD of Linux
_PARENT, _FLAGS = 1, 6
_KERNEL_THREAD = 0x0020_0000


class ProcessReach:
    """Whose processes one call may know of.

    The machine is one for all tenants, so its processes are shown only where the person behind the call has rights on
    the whole installation; a tenant's own user, where there is one, is always the tenant's. What of that a caller may
    really see and do, its grants say.
    """

    def __init__(self, ctx: Context, kernel: Kernel, user: int | None) -> None:
        person = ctx.principal.human
        operation = kernel.find(HOST)
        self._whole = (
            person is not None and operation is not None and kernel.policy_of(person).may_try(person, operation)
        )
        self._user = user

    def belongs(self, uid: int) -> bool:
        """Tell whether processes of a user of this machine are the caller's to see, as far as grants allow."""
        return self._whole or (self._user is not None and uid == self._user)

    def own(self, pid: int) -> str:
        """Say what a process is to the platform itself; empty for nothing."""
        if pid == 1:
            return "the first process of the machine"
        if _stat(pid, _FLAGS) & _KERNEL_THREAD:
            return "a part of the kernel"
        above = _above(os.getpid())
        if pid == os.getpid():
            return "the platform itself"
        if pid in above:
            return "what the platform was started by"
        if _is_ours(pid):
            return "a part of the platform"
        return ""


def _is_ours(pid: int) -> bool:
    """Tell whether a process is a worker or a launcher: a child of the server's, or of its supervisor's."""
    family = {os.getpid(), os.getppid()}
    parent, words = _parent(pid), _words(pid)
    worker = any(one in (b"superagent.asgi", b"superagent") for one in words)
    launcher = any(one.endswith(b"superagent_launcher/__main__.py") for one in words)
    # the launcher of another worker is a grandchild of the supervisor
    return (worker and parent in family) or (launcher and (parent in family or _parent(parent) in family))


def _above(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1 and (pid := _parent(pid)) not in found:
        found.add(pid)
    return found


def _parent(pid: int) -> int:
    return _stat(pid, _PARENT)


def _stat(pid: int, field: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[field])


def _words(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(65_536).split(b"\0")
    except OSError:
        return []
