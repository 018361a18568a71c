"""Attacks on processes: those of others, and the number and the life of the own ones."""

from __future__ import annotations

from tests.attack.case import Case
from tests.attack.runner import Limits
from tests.attack.victim_launcher import launcher
from tests.attack.victim_processes import announced, keeper, leftovers
from tests.attack.victims import canary

_VICTIM = 'pid = S["victim"]["pid"]\n'

CASES = (
    Case("kill", "processes", "end a process of the same user", _VICTIM + "os.kill(pid, 9)", (keeper,), everyday=True),
    Case("stop", "processes", "freeze a process of the same user", _VICTIM + "os.kill(pid, 19)", (keeper,)),
    Case(
        "kill-everybody",
        "processes",
        "end every process of the same user at once",
        "os.kill(-1, 9)",
        (keeper,),
        control="private",
    ),
    Case(
        "kill-by-descriptor",
        "processes",
        "end a process through a descriptor of it",
        _VICTIM + 'call("pidfd_send_signal", call("pidfd_open", pid, 0), 9, 0, 0)',
        (keeper,),
    ),
    Case(
        "kill-by-notice",
        "processes",
        "have the kernel end a process: by the signal that a pipe sends to its owner",
        _VICTIM
        + """
import fcntl, socket, time
one, other = socket.socketpair()
fcntl.fcntl(one, fcntl.F_SETSIG, 9)
fcntl.fcntl(one, fcntl.F_SETOWN, pid)
fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC)
other.send(b"x")
""",
        (keeper,),
    ),
    Case(
        "ptrace",
        "processes",
        "take hold of another process as a debugger does",
        _VICTIM
        + """
call("ptrace", 16, pid, 0, 0)
os.waitpid(pid, 0x40000000)
address = S["victim"]["address"]
word = ctypes.c_long()
call("ptrace", 1, pid, address, ctypes.byref(word))
call("ptrace", 17, pid, 0, 0)
if bytes(word)[:5] == S["token"].encode()[:5]: escaped("read its memory")
""",
        (keeper,),
        everyday=True,
    ),
    Case(
        "read-memory",
        "processes",
        "copy from the memory of another process",
        _VICTIM
        + """
import struct
size = len(S["token"])
here = ctypes.create_string_buffer(size)
local = ctypes.c_char_p(struct.pack("QQ", ctypes.addressof(here), size))
remote = ctypes.c_char_p(struct.pack("QQ", S["victim"]["address"], size))
call("process_vm_readv", pid, local, 1, remote, 1, 0)
if has_token(here.raw): escaped("read its memory")
""",
        (keeper,),
    ),
    Case(
        "read-memory-file",
        "processes",
        "read the memory of another process as a file",
        _VICTIM
        + """
with open(f"/proc/{pid}/mem", "rb", 0) as memory:
    memory.seek(S["victim"]["address"])
    if has_token(memory.read(len(S["token"]))): escaped("read its memory")
""",
        (keeper,),
    ),
    Case(
        "steal-descriptor",
        "processes",
        "take an open descriptor out of another process",
        _VICTIM
        + """
fd = call("pidfd_getfd", call("pidfd_open", pid, 0), S["victim"]["fd"], 0)
if has_token(os.pread(fd, 100, 0)): escaped("took its descriptor")
""",
        (keeper,),
    ),
    Case(
        "limit-others",
        "processes",
        "set the limits of another process",
        _VICTIM
        + """
import resource
resource.prlimit(pid, resource.RLIMIT_NOFILE, (50, 50))
escaped("set its limits")
""",
        (keeper,),
    ),
    Case(
        "slow-others-down",
        "processes",
        "put another process last in the queue for the processor",
        _VICTIM
        + """
os.setpriority(os.PRIO_PROCESS, pid, 19)
escaped("set its priority")
""",
        (keeper,),
    ),
    Case(
        "move-others",
        "processes",
        "bind another process to one processor",
        _VICTIM
        + """
os.sched_setaffinity(pid, os.sched_getaffinity(pid))
escaped("set its processors")
""",
        (keeper,),
    ),
    Case(
        "real-time",
        "processes",
        "go before everybody in the queue for the processor",
        """
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
escaped("runs before everybody")
""",
        control="root",
    ),
    Case(
        "see-others",
        "processes",
        "list the processes of the host",
        """
mine = os.getpid()
for one in processes():
    try: arguments = read(f"{one}/cmdline")
    except OSError: continue
    if one != f"/proc/{mine}" and arguments.endswith(S["token"].encode() + b"\\0"): escaped(one)
""",
        (announced,),
    ),
    Case(
        "launcher-socket",
        "processes",
        "take the server's socket to its launcher, and have a sandbox started that shows a folder of the host",
        """
import array, json, socket, time
at = S["server"]
sock = socket.socket(fileno=call("pidfd_getfd", call("pidfd_open", at["pid"], 0), at["fd"], 0))
options = ["--unshare-user", "--unshare-pid", "--die-with-parent", "--uid", "1000", "--gid", "1000",
           "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
           "--symlink", "usr/bin", "/bin", "--bind", S["folder"], "/host"]
limits = {"memory_bytes": 1 << 30, "processes": 9, "cpus": 1, "cpu_s": 9, "file_bytes": 1 << 20, "open_files": 99,
          "wall_s": 9}
command = ["/bin/sh", "-c", "echo harmed > /host/canary.txt"]
asked = {"do": "start", "run": 77, "program": at["bwrap"], "options": options, "command": command,
         "numbers": [0, 1, 2], "mounts": [], "uid": None, "limits": limits, "fds": 3}
body = json.dumps(asked).encode()
null = array.array("i", [os.open("/dev/null", os.O_RDWR)] * 3)
sock.sendmsg([len(body).to_bytes(4, "big") + body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, null)])
for _ in range(200):
    if b"harmed" in read(S["canary"]): escaped("it was started")
    time.sleep(0.02)
""",
        (canary, launcher),
        everyday=True,
    ),
    Case(
        "end-the-launcher",
        "processes",
        "end the launcher, and with it every sandbox",
        'os.kill(S["server"]["launcher"], 9)',
        (launcher,),
    ),
    Case(
        "fork-bomb",
        "processes",
        "start processes without end",
        """
import signal, time
children = []
try:
    while len(children) < 200:
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        children.append(pid)
except OSError: pass
alive = len(children)
for pid in children: os.kill(pid, 9)
for pid in children: os.waitpid(pid, 0)
if alive >= 200: escaped(f"{alive} at once")
held(f"{alive} at once")
""",
        everyday=True,
        stopped=True,
    ),
    Case(
        "thread-bomb",
        "processes",
        "start threads without end",
        """
import threading
over = threading.Event()
threads = []
try:
    while len(threads) < 200:
        one = threading.Thread(target=over.wait, daemon=True)
        one.start()
        threads.append(one)
except RuntimeError as error: held(f"{len(threads)} at once: {error}")
escaped(f"{len(threads)} at once")
""",
        partial={"gvisor-root": "processes"},
    ),
    Case(
        "outlive",
        "processes",
        "live on after the command, as a daemon does",
        """
import signal, subprocess
out, into = os.pipe()
if os.fork():
    os.close(into)
    os.read(out, 1)
    held("left a child behind")
os.setsid()
for number in (1, 2, 3, 13, 15, 20): signal.signal(number, signal.SIG_IGN)
if os.fork(): os._exit(0)
code = "import time; print(1, flush=True); time.sleep(30)"
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code, S["left"]], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
child.stdout.read(1)
os.write(into, b"x")
os._exit(0)
""",
        (leftovers,),
        everyday=True,
    ),
    Case(
        "outlive-the-deadline",
        "processes",
        "refuse to end at the deadline, together with children in other sessions",
        """
import signal, time
for number in (1, 2, 3, 14, 15, 20): signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0: os.setsid()
time.sleep(3)
escaped("still there")
""",
        stopped=True,
        limits=Limits(wall_s=1.5),
    ),
    Case(
        "hold-the-output",
        "processes",
        "keep the output open by a child, so that whoever reads it never comes to its end",
        """
import signal, time
if os.fork() == 0:
    os.setsid()
    time.sleep(3)
    escaped("wrote after the command's end")
""",
    ),
)
