"""The first program of a sandbox that was started before it is needed: it waits for a command, and runs it to its end.

It runs inside, as process 1, by the sandbox's own Python (3.8 or newer) and nothing but the standard library:

    python3 -I -S waiting_init.py DESCRIPTOR

DESCRIPTOR is a Unix socket of whole messages. It says `W` once it waits. One message comes: texts that end with NUL
each (the working folder, the numbers under which the descriptors beside it are to be seen, how many variables there
are, these as NAME=VALUE, and the command with its arguments). It says `S` when the command was executed, or `E` and the
reason when it cannot be, and nothing has been done. When the command has ended it ends all that this left, says `R`
with the exit code (128 + n for signal n), the processor time in microseconds and the most memory of one process in
KiB, and stays until the socket is closed: then nothing but itself is left of the sandbox, and what counted it can
still be asked.
"""

# what `socket` and `signal` import takes as long as all the rest of this program
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportArgumentType=false
import _socket
import os
import resource
import sys
from _signal import SIG_DFL, SIGINT, SIGKILL, SIGPIPE, SIGXFSZ, signal

MOST_BYTES = 131_072
MOST_DESCRIPTORS = 16
_ABOVE = 64
_SOCKET = 2 * _ABOVE
_PR_SET_DUMPABLE = 4  # linux/prctl.h


def hide() -> None:
    """Keep what runs beside this process from looking into it: it has the same user. Raises `OSError`."""
    import _ctypes  # not `ctypes`, which takes ten times as long

    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
    if _ctypes.call_function(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0)):
        raise OSError("it cannot hide")


def receive(sock: "_socket.socket") -> "tuple[list[bytes], list[int]]":
    """Wait for the message; gives its texts and its descriptors. Raises `EOFError` when nobody needs us."""
    data, beside, _, _ = sock.recvmsg(MOST_BYTES, _socket.CMSG_SPACE(4 * MOST_DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC)
    if not data:
        raise EOFError
    numbers: list[bytes] = [content[at : at + 4] for _, _, content in beside for at in range(0, len(content), 4)]
    return data.split(b"\0")[:-1], [int.from_bytes(one, sys.byteorder) for one in numbers]


def begin(here: bytes, texts: "list[bytes]", descriptors: "list[int]") -> int:
    """Start the command, with each descriptor under its number and no other. Raises `OSError` when that cannot be.

    `here` is the folder in which this process is.
    """
    folder, numbers, count, *rest = texts
    env = dict(one.split(b"=", 1) for one in rest[: int(count)])
    command = rest[int(count) :]
    if folder != here:
        os.chdir(folder)
    shown = [int(one) for one in numbers.split()]
    if max(shown) >= min(descriptors):  # out of the way first: what comes as 7 may have to be seen as 3
        for at, one in enumerate(descriptors):
            os.dup2(one, _ABOVE + at, inheritable=False)
            os.close(one)
        descriptors = list(range(_ABOVE, _ABOVE + len(descriptors)))
    pid = execute(command, env, [(os.POSIX_SPAWN_DUP2, one, shown[at]) for at, one in enumerate(descriptors)])
    for one in descriptors:  # whoever reads what it writes must not wait for us
        os.close(one)
    return pid


def execute(command: "list[bytes]", env: "dict[bytes, bytes]", actions: "list[tuple[int, int, int]]") -> int:
    """Execute as execvp(3) does, and give the process. Raises `OSError`."""
    name, failed = command[0], None
    for folder in [b""] if b"/" in name else env.get(b"PATH", b"").split(b":"):
        place = folder + b"/" + name if folder else name
        if folder and not os.access(place, os.F_OK):  # a look takes less than a process that comes to nothing
            continue
        try:
            # Python ignores these, and who is executed would inherit it
            return os.posix_spawn(place, command, env, file_actions=actions, setsigdef=(SIGPIPE, SIGXFSZ))
        except OSError as bad:
            failed = bad
    raise failed or FileNotFoundError(2, "No such file or directory")


def carry(pid: int) -> "tuple[int, int, int]":
    """Wait for a process and end all that it left; gives its exit code, its processor time and its most memory."""
    while True:
        found, status, used = os.wait4(-1, 0)
        if found == pid:
            break
    if os.getpid() == 1:  # else this would be the end of everything on the machine
        end_all()
    return _code(status), int((used.ru_utime + used.ru_stime) * 1e6), used.ru_maxrss


def end_all() -> None:
    """End everything else: all here descends from process 1, so whoever has no child any more is alone."""
    try:
        while True:
            if os.wait4(-1, os.WNOHANG)[0] == 0:
                os.kill(-1, SIGKILL)
                os.wait4(-1, 0)
    except (ProcessLookupError, ChildProcessError):  # there was nothing, or there is nothing any more
        return


def rehearse(here: bytes) -> None:
    """Get a command that is nowhere and wait for nothing: the first time takes several times as long as the next."""
    resource.getrusage(resource.RUSAGE_SELF)  # this module makes what `os.wait4` gives, which else loads it then
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    null = os.open(b"/dev/null", os.O_RDWR)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, null.to_bytes(4, sys.byteorder) * 3)]
    ours.sendmsg([b"\0".join((here, b"0 1 2", b"1", b"PATH=/nowhere", b"nothing", b""))], rights)
    texts, descriptors = receive(theirs)
    try:
        try:
            begin(here, texts, descriptors)
        finally:
            carry(0)
    except OSError:  # there is neither such a command nor a child
        for one in (null, *descriptors):
            os.close(one)
    ours.close()
    theirs.close()


def _code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def main(arguments: "list[str]") -> int:
    """Wait and run; the exit code is the command's."""
    os.closerange(3, int(arguments[0]))
    os.closerange(int(arguments[0]) + 1, _ABOVE)
    sock = _socket.socket(fileno=os.dup2(int(arguments[0]), _SOCKET, inheritable=False))
    os.close(int(arguments[0]))
    signal(SIGINT, SIG_DFL)  # what process 1 has no handler for does not reach it
    try:
        hide()
        here = os.getcwdb()
        rehearse(here)
        sock.send(b"W")
        pid = begin(here, *receive(sock))
    except EOFError:
        return 1
    except Exception as bad:  # whatever it is: the command was not executed
        sock.send(b"E" + (str(bad) or "no reason was given").encode("utf-8", "replace")[:1000])
        return 1
    try:
        sock.send(b"S")
        found = carry(pid)
        sock.send(b"R%d %d %d" % found)
        sock.recv(1)
    except OSError:  # nobody listens any more
        return 1
    return found[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
