"""Real processes under the shipped filters: each refusal answers its number, ordinary programs notice nothing."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import signal
import subprocess

import pytest

from superagent.runtime.sandbox.filters.rules import refusals, refusals_without_namespaces
from superagent.runtime.sandbox.filters.shipped import filter_for, filter_without_namespaces
from tests.needs import missing, program
from tests.runtime.sandbox.call_numbers import number_of

MACHINE = platform.machine()
ALWAYS = {call for refusal in refusals(inet=True, unix=False) if not refusal.when for call in refusal.calls}

# every argument is -1: each of these calls fails at once in the kernel, with another number than the filter's
ASK_ALL = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
said = {}
for name, number in json.loads(sys.argv[1]).items():
    ctypes.set_errno(0)
    libc.syscall(number, *[ctypes.c_long(-1)] * 6)
    said[name] = ctypes.get_errno()
print(json.dumps(said))
"""


def run(code: str, *given: str, sockets: str | None = "inet", sh: bool = False) -> subprocess.CompletedProcess[str]:
    """Run Python or sh text under bubblewrap with a shipped filter; without any where `sockets` is None."""
    command = [program("bwrap", "bubblewrap"), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    command += ["--tmpfs", "/tmp", "--tmpfs", "/dev/shm", "--unshare-net", "--unshare-pid"]
    if os.geteuid() == 0:
        command += ["--cap-add", "ALL"]  # so that it is the filter that refuses
    passed: list[int] = []
    if sockets is not None:
        # one descriptor per start: bubblewrap reads it to the end
        passed.append(os.memfd_create("filter"))
        os.write(passed[0], filter_named(sockets))
        os.lseek(passed[0], 0, os.SEEK_SET)
        command += ["--seccomp", str(passed[0])]
    interpreter = ["/bin/sh", "-c"] if sh else [program("python3"), "-I", "-c"]
    try:
        return subprocess.run(
            [*command, "--", *interpreter, code, *given],
            pass_fds=passed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"},
        )
    finally:
        for fd in passed:
            os.close(fd)


def filter_named(sockets: str) -> bytes:
    if sockets.startswith("shared"):
        return filter_without_namespaces(MACHINE, tcp=sockets == "shared-tcp")
    allowed = sockets.split("+")
    return filter_for(MACHINE, unix="unix" in allowed, inet="inet" in allowed)


def said(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def unconditional() -> dict[str, int]:
    """Give the calls of this machine that are always refused, with their numbers."""
    numbers = {name: number_of(name, MACHINE) for name in ALWAYS}
    return {name: number for name, number in numbers.items() if number is not None}


def refused_always() -> dict[str, int]:
    """Give what the table says of the calls that this machine has and that are refused whatever their arguments."""
    return {
        name: refusal.answer
        for refusal in refusals(inet=True, unix=False)
        for name in refusal.calls
        if not refusal.when and name in unconditional()
    }


def test_each_refused_call_answers_the_number_of_the_table() -> None:
    assert len(refused_always()) > 40
    assert json.loads(said(run(ASK_ALL, json.dumps(unconditional())))) == refused_always()


def test_without_the_filter_the_kernel_answers_otherwise() -> None:
    if os.geteuid():
        missing("only root's calls get past the kernel's own checks of capabilities")
    answers = json.loads(said(run(ASK_ALL, json.dumps(unconditional()), sockets=None)))
    assert not {name for name, refused in refused_always().items() if answers[name] in (0, refused)}


def test_calls_newer_than_the_table_are_not_there() -> None:
    newer = json.dumps({str(number): number for number in range(457, 480)})
    assert set(json.loads(said(run(ASK_ALL, newer))).values()) == {errno.ENOSYS}


NAMESPACES = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
said = {}
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x7e020000):
    for extra in (0, 17):
        pid = libc.syscall(%d, flag | extra, 0, 0, 0, 0)
        if pid == 0:
            libc._exit(0)
        said[hex(flag | extra)] = ctypes.get_errno() if pid < 0 else 0
print(json.dumps(said))
"""


def test_no_namespace_is_made_by_clone() -> None:
    code = NAMESPACES % (number_of("clone", MACHINE) or 0)
    assert set(json.loads(said(run(code))).values()) == {errno.EPERM}
    if os.geteuid() == 0:
        assert set(json.loads(said(run(code, sockets=None))).values()) == {0}


PLANTS = """
import json, os, sys
said = []
for plant in (
    lambda: os.chmod("/tmp/x", 0o4755),
    lambda: os.fchmod(os.open("/tmp/x", os.O_RDONLY), 0o4755),
    lambda: os.chmod("x", 0o4755, dir_fd=os.open("/tmp", os.O_RDONLY)),
    lambda: os.open("/tmp/y", os.O_CREAT | os.O_WRONLY, 0o4755),
    lambda: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY, 0o4755),
    lambda: os.mknod("/tmp/z", 0o104755),
):
    open("/tmp/x", "w").close()
    try:
        plant()
        said.append(0)
    except OSError as error:
        said.append(error.errno)
os.chmod("/tmp/x", 0o2755)
print(json.dumps(said))
"""


def test_no_set_uid_file_is_planted() -> None:
    assert set(json.loads(said(run(PLANTS)))) == {errno.EPERM}
    assert set(json.loads(said(run(PLANTS, sockets=None)))) == {0}


TERMINAL = """
import ctypes, json, os, pty, termios
os.setsid()
master, slave = pty.openpty()
import fcntl
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
libc = ctypes.CDLL(None, use_errno=True)
said = []
for request in (0x5412, 0x541c, 0x5423):
    for upper in (0, 1, 0xffffffff):
        ctypes.set_errno(0)
        libc.syscall(%d, slave, ctypes.c_ulong(upper << 32 | request), ctypes.c_char_p(b"\\x02\\0\\0\\0"))
        said.append(ctypes.get_errno())
print(json.dumps(said))
print(os.get_terminal_size(slave).columns)
"""


def test_nobody_types_into_a_terminal_whatever_the_upper_half_says() -> None:
    code = TERMINAL % (number_of("ioctl", MACHINE) or 0)
    fork = f"import os\nif os.fork(): os.wait(); raise SystemExit\n{code}"
    refused, size = said(run(fork)).splitlines()
    assert json.loads(refused) == [errno.EPERM] * 9
    assert size == "0", "other requests to the terminal go on working"
    unfiltered = json.loads(said(run(fork, sockets=None)).splitlines()[0])
    assert errno.EPERM not in unfiltered


SOCKETS = """
import json, socket
said = {}
for family in range(50):
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
        said[family] = 0
    except OSError as error:
        said[family] = error.errno
print(json.dumps(said))
"""


@pytest.mark.parametrize(
    ("sockets", "allowed"), [("none", set[int]()), ("unix", {1}), ("inet", {2, 10}), ("inet+unix", {1, 2, 10})]
)
def test_only_the_families_of_the_variant_open(sockets: str, allowed: set[int]) -> None:
    answers = {int(family): answer for family, answer in json.loads(said(run(SOCKETS, sockets=sockets))).items()}
    assert {family for family, answer in answers.items() if answer == 0} == allowed
    assert {answer for family, answer in answers.items() if family not in allowed} == {errno.EAFNOSUPPORT}


KINDS = """
import json, socket
said = []
for family in (socket.AF_INET, socket.AF_INET6):
    for kind in (3, 4, 5, 6, 10):
        for flags in (0, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK):
            try:
                socket.socket(family, kind | flags, 0)
                said.append(0)
            except OSError as error:
                said.append(error.errno)
print(json.dumps(said))
"""


def test_internet_sockets_are_streams_and_datagrams_only() -> None:
    assert set(json.loads(said(run(KINDS)))) == {errno.ESOCKTNOSUPPORT}


PAIRS = """
import json, socket
said = []
for kind in (1, 2, 3, 5):
    try:
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        one.send(b"x")
        said.append(other.recv(1).decode())
    except OSError as error:
        said.append(error.errno)
print(json.dumps(said))
"""


def test_a_pair_stays_a_pair() -> None:
    assert json.loads(said(run(PAIRS))) == ["x", errno.EAFNOSUPPORT, errno.EAFNOSUPPORT, "x"]
    assert json.loads(said(run(PAIRS, sockets="unix"))) == ["x", "x", "x", "x"]


# a datagram socket from a pair, pointed at a name: why pairs of them are refused
REPOINTED = """
import socket, tempfile
at = tempfile.mkdtemp() + "/named"
named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
named.bind(at)
one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
one.sendto(b"through", at)
print(named.recv(10).decode())
"""


def test_a_datagram_pair_would_have_reached_a_named_socket() -> None:
    assert said(run(REPOINTED, sockets=None)) == "through"


# getpid of i386 is 20, asked through `int 0x80` from a 64-bit process
I386_CALL = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(b"\\x53\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\x5b\\xc3")  # push rbx; mov eax, 20; int 0x80; pop rbx; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(call())
"""
X32_CALL = """
import ctypes
print(ctypes.CDLL(None, use_errno=True).syscall(0x40000000 | 39))
"""


@pytest.mark.skipif(MACHINE != "x86_64", reason="x86 has these second doors, others do not")
@pytest.mark.parametrize("code", [I386_CALL, X32_CALL], ids=["i386", "x32"])
def test_the_second_door_of_x86_ends_the_process(code: str) -> None:
    through = run(code, sockets=None)
    if through.returncode == 128 + signal.SIGSEGV:
        missing("this kernel has no 32-bit calls")
    assert int(said(through)), "the control shows that the call is made"
    refused = run(code)
    assert refused.returncode == 128 + signal.SIGSYS, refused.stdout
    assert refused.stdout == ""


OF_OTHERS = """
import ctypes, json, os, resource
libc = ctypes.CDLL(None, use_errno=True)
said = []
def ask(way):
    try:
        way()
        said.append(0)
    except OSError as error:
        said.append(error.errno)
other = os.getppid() or 1
ask(lambda: resource.prlimit(other, resource.RLIMIT_NOFILE))
ask(lambda: os.setpriority(os.PRIO_PROCESS, other, 0))
ask(lambda: os.setpriority(os.PRIO_USER, 0, 0))
ask(lambda: os.sched_setaffinity(other, os.sched_getaffinity(0)))
ask(lambda: os.sched_setscheduler(other, os.SCHED_OTHER, os.sched_param(0)))
ask(lambda: os.sched_setparam(other, os.sched_param(0)))
print(json.dumps(said))
"""


def test_without_namespaces_nobody_sets_how_others_run() -> None:
    assert set(json.loads(said(run(OF_OTHERS, sockets="shared-none")))) == {errno.EPERM}
    assert set(json.loads(said(run(OF_OTHERS, sockets=None)))) == {0}


def test_without_namespaces_what_the_host_shares_is_refused() -> None:
    calls = {call for refusal in refusals_without_namespaces(tcp=True) if not refusal.when for call in refusal.calls}
    shared = {name: number_of(name, MACHINE) for name in calls - ALWAYS}
    assert len(shared) == 14
    assert set(json.loads(said(run(ASK_ALL, json.dumps(shared), sockets="shared-tcp"))).values()) == {errno.EPERM}
    assert errno.EPERM not in json.loads(said(run(ASK_ALL, json.dumps(shared), sockets=None))).values()


ONLY_TCP = """
import json, socket
said = []
def ask(way):
    try:
        way()
        said.append(0)
    except OSError as error:
        said.append(error.errno)
for family, at in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    ask(lambda: socket.socket(family, socket.SOCK_DGRAM))
    ask(lambda: socket.socket(family, socket.SOCK_STREAM, 262))
    ask(lambda: socket.socket(family, socket.SOCK_STREAM).listen())
    ask(lambda: socket.socket(family, socket.SOCK_STREAM).sendto(b"x", 0x20000000, (at, 9)))
    ask(lambda: socket.socket(family, socket.SOCK_STREAM).sendmsg([b"x"], [], 0x20000000, (at, 9)))
ask(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 6).connect(("127.0.0.1", 9)))
ask(lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0).connect(("::1", 9)))
print(json.dumps(said))
"""


def test_only_tcp_that_asks_to_connect_is_left_of_the_internet() -> None:
    refused = [errno.EPERM, errno.EPROTONOSUPPORT, errno.EPERM, errno.EPERM, errno.EPERM] * 2
    reached = [errno.ECONNREFUSED] * 2
    assert json.loads(said(run(ONLY_TCP, sockets="shared-tcp"))) == refused + reached
    unfiltered = json.loads(said(run(ONLY_TCP, sockets=None)))
    assert unfiltered[-2:] == reached
    assert errno.EPERM not in unfiltered


ORDINARY = {
    "threads": "import threading as t; r=[]; x=[t.Thread(target=r.append, args=(1,)) for _ in range(8)]; "
    "[y.start() for y in x]; [y.join() for y in x]; print(len(r))",
    "vfork": "import subprocess; print(subprocess.run(['echo', '8'], capture_output=True, text=True).stdout)",
    "fork": "import subprocess; print(subprocess.run(['echo', '8'], capture_output=True, text=True, "
    "preexec_fn=lambda: None).stdout)",
    "posix_spawn": "import os; print(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn('/bin/sh', "
    "['sh', '-c', 'exit 8'], {}), 0)[1]))",
    "processes": "import multiprocessing as m; p=m.get_context('fork').Pool(2); print(sum(p.map(abs, [-3, -5]))); "
    "p.close(); p.join()",
    "asyncio": "import asyncio\nasync def main():\n p=await asyncio.create_subprocess_exec('echo', '8', stdout=-1)\n "
    "print((await p.communicate())[0].decode())\nasyncio.run(main())",
    "loopback": "import socket as s; a=s.create_server(('127.0.0.1', 0)); b=s.create_connection(a.getsockname()); "
    "b.send(b'8'); print(a.accept()[0].recv(1).decode())",
    "loopback6": "import socket as s; a=s.create_server(('::1', 0), family=s.AF_INET6); "
    "b=s.create_connection(a.getsockname()[:2]); b.send(b'8'); print(a.accept()[0].recv(1).decode())",
    "datagrams": "import socket as s; a=s.socket(s.AF_INET, s.SOCK_DGRAM); a.bind(('127.0.0.1', 0)); "
    "s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'8', a.getsockname()); print(a.recv(1).decode())",
    "names": "import socket as s; s.getaddrinfo('localhost', 80); print(8)",
    "memory": "import mmap, os; f=os.memfd_create('x'); os.write(f, b'8'); print(mmap.mmap(f, 1).read(1).decode())",
    "terminal": "import pty, os; m, s=pty.openpty(); os.write(m, b'8\\n'); print(os.read(s, 1).decode())",
    "waiting": "import select, os; r, w=os.pipe(); p=select.epoll(); p.register(r); os.write(w, b'8'); p.poll(1); "
    "print(os.read(r, 1).decode())",
    "signals": "import signal, os; signal.signal(signal.SIGUSR1, lambda *_: print(8)); "
    "signal.raise_signal(signal.SIGUSR1); os.pidfd_open(os.getpid())",
    "files": "import tempfile, os, fcntl; f=tempfile.NamedTemporaryFile(); f.write(b'8'); f.flush(); "
    "fcntl.flock(f, fcntl.LOCK_EX); os.link(f.name, f.name+'l'); os.rename(f.name+'l', f.name+'r'); "
    "os.symlink('x', f.name+'s'); os.chmod(f.name, 0o600); os.mkfifo(f.name+'p'); "
    "print(open(f.name+'r').read())",
    "database": "import sqlite3; print(sqlite3.connect('/tmp/x').execute('select 8').fetchone()[0])",
    "clocks": "import time, resource; time.clock_gettime(0); resource.getrlimit(7); time.sleep(0.001); print(8)",
}


@pytest.mark.parametrize("code", ORDINARY.values(), ids=ORDINARY.keys())
def test_an_ordinary_program_notices_nothing(code: str) -> None:
    assert said(run(code)) == "8"


@pytest.mark.parametrize("name", sorted(ORDINARY.keys() - {"loopback", "loopback6", "datagrams", "processes"}))
def test_an_ordinary_program_notices_nothing_without_namespaces(name: str) -> None:
    assert said(run(ORDINARY[name], sockets="shared-none")) == "8"


def test_a_shell_notices_nothing() -> None:
    text = "cd /tmp && echo b >x && echo a >>x && sort <x | tr '\\n' , && (sleep 0 & wait) && ls | wc -l"
    assert said(run(text, sh=True)) == "a,b,1"


def test_git_notices_nothing() -> None:
    program("git")
    text = (
        "cd /tmp && git init -q a && cd a && echo 8 >f && git add f && "
        "git -c user.name=a -c user.email=a@b commit -q -m c && cd .. && git clone -q a b && cat b/f"
    )
    assert said(run(text, sh=True)) == "8"


def test_node_notices_nothing() -> None:
    if shutil.which("node", path="/usr/bin:/bin") is None:
        pytest.skip("node is not installed here, and nothing else of the project needs it")
    text = (
        'node -e \'const {execFileSync}=require("child_process");'
        'require("net").createServer(s=>s.end()).listen(0,"127.0.0.1",function(){this.close();'
        'new (require("worker_threads").Worker)("0",{eval:true}).on("exit",()=>'
        'console.log(execFileSync("echo",["8"]).toString().trim()))})\''
    )
    assert said(run(text, sh=True)) == "8"
