"""Attacks on what all share: memory, disk, processor, and the reader of the output."""

from __future__ import annotations

from tests.attack.case import Case
from tests.attack.runner import Limits

_ONLY_A_GROUP_HOLDS = {"native-ordinary": "memory", "landlock-ordinary": "memory", "backed-ordinary": "memory"}
_ONLY_A_QUOTA_HOLDS: dict[str, str] = dict.fromkeys(
    (
        *("native-ordinary", "landlock-ordinary", "backed_landlock-root"),
        *("docker-root", "podman-root", "gvisor-root"),
    ),
    "disk",
)
_MEMORY = Limits(cpu_s=20)

CASES = (
    Case(
        "memory-of-one",
        "memory",
        "use up memory in one process",
        """
kept = []
for _ in range(40):
    kept.append(bytearray(os.urandom(1 << 20) * 16))
escaped(f"{len(kept) * 16} MiB")
""",
        stopped=True,
        limits=_MEMORY,
    ),
    Case(
        "memory-of-many",
        "memory",
        "use up memory in several processes, each of them modest",
        """
ends = []
for _ in range(6):
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = bytearray(os.urandom(1 << 20) * 100)
        os.write(into, b"x")
        os.read(0, 1)
        import time
        time.sleep(5)
        os._exit(0)
    os.close(into)
    ends.append((pid, out))
came = sum(len(os.read(out, 1)) for _, out in ends)
for pid, _ in ends: os.kill(pid, 9)
if came == 6: escaped("600 MiB")
held(f"{came} of 6")
""",
        stopped=True,
        limits=_MEMORY,
        partial=_ONLY_A_GROUP_HOLDS,
    ),
    Case(
        "memory-shared",
        "memory",
        "use up memory that is shared and so belongs to no process",
        """
import mmap
kept = []
for _ in range(20):
    kept.append(mmap.mmap(-1, 32 << 20))
    kept[-1].write(os.urandom(1 << 20) * 32)
escaped(f"{len(kept) * 32} MiB")
""",
        stopped=True,
        limits=_MEMORY,
        partial=_ONLY_A_GROUP_HOLDS,
    ),
    Case(
        "memory-files",
        "memory",
        "use up memory by files that lie nowhere",
        """
kept = []
for _ in range(24):
    kept.append(os.memfd_create("x"))
    for _ in range(25): os.write(kept[-1], os.urandom(1 << 20))
escaped(f"{len(kept) * 25} MiB")
""",
        stopped=True,
        limits=_MEMORY,
        partial=_ONLY_A_GROUP_HOLDS,
    ),
    Case(
        "memory-system-v",
        "memory",
        "use up memory by segments that outlive every process",
        """
libc.shmat.restype = ctypes.c_void_p
segments, size = [], 32 << 20
try:
    for _ in range(20):
        one = libc.shmget(0, size, 0o1600)
        if one < 0: raise OSError(ctypes.get_errno(), "shmget")
        segments.append(one)
        ctypes.memset(libc.shmat(one, None, 0), 1, size)
        libc.shmctl(one, 0, None)
finally:
    for one in segments: libc.shmctl(one, 0, None)
escaped(f"{len(segments) * 32} MiB")
""",
        stopped=True,
        limits=_MEMORY,
        partial={"native-ordinary": "memory", "backed-ordinary": "memory"},
    ),
    Case(
        "memory-of-dev-shm",
        "memory",
        "fill the folder for shared memory",
        """
made = []
try:
    for number in range(10):
        made.append(f"/dev/shm/attack-{S['token']}-{number}")
        with open(made[-1], "wb") as file:
            for _ in range(30): file.write(os.urandom(1 << 20))
finally:
    for path in made:
        if os.path.exists(path): os.unlink(path)
escaped("300 MiB")
""",
        stopped=True,
        limits=_MEMORY,
    ),
    Case(
        "memory-of-tmp",
        "memory",
        "fill the folder for temporary files",
        """
import tempfile, shutil
folder = tempfile.mkdtemp(dir="/tmp")
try:
    for number in range(10):
        with open(f"{folder}/{number}", "wb") as file:
            for _ in range(10): file.write(os.urandom(1 << 20))
finally: shutil.rmtree(folder)
escaped("100 MiB")
""",
        stopped=True,
        limits=_MEMORY,
    ),
    Case(
        "locked-memory",
        "memory",
        "take memory that the kernel may never move away",
        """
import mmap
page = mmap.mmap(-1, 1 << 20)
if libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), ctypes.c_size_t(1 << 20)):
    raise OSError(ctypes.get_errno(), "mlock")
escaped("1 MiB")
""",
    ),
    Case(
        "fill-the-disk",
        "disk",
        "fill the disk on which the workspace lies",
        """
for number in range(5):
    with open(f"{S['workspace']}/{number}", "wb") as file:
        for _ in range(20): file.write(os.urandom(1 << 20))
escaped("100 MiB")
""",
        limits=_MEMORY,
        partial=_ONLY_A_QUOTA_HOLDS,
    ),
    Case(
        "fill-the-inodes",
        "disk",
        "use up the number of files that the disk can hold",
        """
for number in range(3000): open(f"{S['workspace']}/{number}", "w").close()
escaped("3000 files")
""",
        limits=_MEMORY,
        partial=_ONLY_A_QUOTA_HOLDS,
    ),
    Case(
        "sparse-file",
        "disk",
        "make a file that claims to be huge",
        """
with open(S["workspace"] + "/huge", "wb") as file: file.truncate(1 << 40)
escaped("1 TiB")
""",
        stopped=True,
        everyday=True,
    ),
    Case(
        "one-large-file",
        "disk",
        "write one large file",
        """
with open(S["workspace"] + "/large", "wb") as file:
    for _ in range(48): file.write(os.urandom(1 << 20))
escaped("48 MiB")
""",
        stopped=True,
        limits=_MEMORY,
    ),
    Case(
        "large-file-by-shell",
        "disk",
        "reserve room for one large file",
        'fallocate -l 48M "$1/large" 2>/dev/null && echo ESCAPED; echo HELD',
        language="sh",
        stopped=True,
    ),
    Case(
        "open-everything",
        "disk",
        "open files without end",
        """
kept = []
for _ in range(1000): kept.append(os.open(S["workspace"], os.O_RDONLY))
escaped(len(kept))
""",
    ),
    Case(
        "processor-of-one",
        "cpu",
        "keep a processor busy, deaf to the warning",
        """
import resource, signal
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while resource.getrusage(resource.RUSAGE_SELF).ru_utime < 2: pass
escaped("2 s")
""",
        stopped=True,
        limits=Limits(cpu_s=1),
    ),
    Case(
        "processor-of-many",
        "cpu",
        "keep a processor busy by one short-lived child after the other",
        """
import resource
while resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime < 2:
    if os.fork() == 0:
        while resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.4: pass
        os._exit(0)
    os.wait()
escaped("2 s")
""",
        stopped=True,
        limits=Limits(cpu_s=1),
        partial={"native-ordinary": "cpu", "landlock-ordinary": "cpu", "backed-ordinary": "cpu"},
    ),
    Case(
        "share-of-the-processor",
        "cpu",
        "take more of the processors at once than was granted",
        """
import time
for _ in range(2):
    spent, begin = time.process_time(), time.monotonic()
    while time.process_time() - spent < 0.25: pass
    took = time.monotonic() - begin
    if took < 2: escaped(f"0.25 s of processor in {took:.2f} s")
held(f"0.25 s of processor in {took:.2f} s")
""",
        limits=Limits(cpus=0.1),
        partial={
            "gvisor-root": "cpus",
            "native-ordinary": "cpus",
            "landlock-ordinary": "cpus",
            "backed-ordinary": "cpus",
        },
    ),
    Case(
        "flood-the-output",
        "output",
        "drown the reader of the output",
        """
block = b"x" * 65536
for _ in range(64): os.write(1, block)
""",
        stopped=True,
        everyday=True,
    ),
    Case(
        "flood-the-errors",
        "output",
        "drown the reader of the errors",
        """
block = b"x" * 65536
for _ in range(64): os.write(2, block)
""",
        everyday=True,
    ),
)
