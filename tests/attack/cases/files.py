"""Attacks on files: out of the workspace, into the server's data, by links, descriptors and process folders."""

from __future__ import annotations

from tests.attack.case import Case
from tests.attack.victim_launcher import linked_folder
from tests.attack.victim_processes import announced, keeper
from tests.attack.victims import (
    canary,
    device_node,
    open_file,
    open_folder,
    planted,
    secret,
    server_data,
    server_environment,
    set_uid_file,
    shared_memory,
    shared_tmp,
)

_SHARED_NAMES = {"landlock-root": "names", "landlock-ordinary": "names"}
_SHARED_METADATA = {"landlock-root": "metadata", "landlock-ordinary": "metadata"}

CASES = (
    Case(
        "read-outside",
        "files",
        "read a file that every user of the host may read",
        'if has_token(read(S["secret"])): escaped("read it")',
        (secret,),
        everyday=True,
    ),
    Case(
        "read-outside-by-shell",
        "files",
        "find and print what lies beside the workspace, as a command line would",
        'for one in "$1"/../*/secret.txt "$2"/*; do grep -q -- "$3" "$one" && echo "ESCAPED $one"; done; echo HELD',
        (secret,),
        language="sh",
    ),
    Case(
        "read-by-dots",
        "files",
        "climb out of the workspace",
        """
os.chdir(S["workspace"])
if has_token(read("../" * 40 + S["secret"].lstrip("/"))): escaped("climbed out")
""",
        (secret,),
    ),
    Case(
        "write-outside",
        "files",
        "write a file that every user of the host may write",
        'open(S["canary"], "w").write("harmed")',
        (canary,),
        everyday=True,
    ),
    Case("delete-outside", "files", "delete a file of the host", 'os.unlink(S["canary"])', (canary,)),
    Case(
        "create-outside",
        "files",
        "make a file in a folder that is open to everybody",
        """
with open(S["folder"] + "/made", "w") as file: file.write("x")
escaped("made it")
""",
    ),
    Case(
        "rename-into-workspace",
        "files",
        "move a file of the host into the workspace",
        """
os.rename(S["secret"], S["workspace"] + "/moved")
if has_token(read(S["workspace"] + "/moved")): escaped("moved it")
""",
        (secret,),
    ),
    Case(
        "symlink-out",
        "files",
        "read through a symlink that the workspace holds",
        """
os.symlink(S["secret"], S["workspace"] + "/link")
if has_token(read(S["workspace"] + "/link")): escaped("read through a link")
""",
        (secret,),
        everyday=True,
    ),
    Case(
        "symlink-out-by-shell",
        "files",
        "do the same with the tools of a shell",
        'ln -s "$2" "$1/out" && grep -qr -- "$3" "$1/out/" && echo ESCAPED; echo HELD',
        (secret,),
        language="sh",
    ),
    Case(
        "link-from-before",
        "files",
        "read through a link that an earlier command left where tools look for their folder",
        'if has_token(read(S["workspace"] + "/.git/secret.txt")): escaped("read through a link")',
        (secret, linked_folder),
        known_as="CVE-2024-42472",
    ),
    Case(
        "hardlink-out",
        "files",
        "give a file of the host a second name in the workspace",
        """
os.link(S["secret"], S["workspace"] + "/link")
if has_token(read(S["workspace"] + "/link")): escaped("linked it")
""",
        (secret,),
    ),
    Case(
        "list-outside",
        "files",
        "list a folder of the host",
        """
if "secret.txt" in os.listdir(S["folder"]): escaped("listed it")
""",
        (secret,),
    ),
    Case(
        "stat-outside",
        "files",
        "learn that a file of the host exists, and its size",
        'escaped(os.stat(S["secret"]).st_size)',
        (secret,),
        partial=_SHARED_NAMES,
    ),
    Case(
        "change-mode-outside",
        "files",
        "open up a file of the host for everybody",
        'os.chmod(S["canary"], 0o777)',
        (canary,),
        partial=_SHARED_METADATA,
    ),
    Case(
        "change-times-outside",
        "files",
        "make a file of the host look old",
        'os.utime(S["canary"], (0, 0))',
        (canary,),
        partial=_SHARED_METADATA,
    ),
    Case(
        "truncate-outside",
        "files",
        "empty a file of the host by its path, without opening it",
        'os.truncate(S["canary"], 0)',
        (canary,),
    ),
    Case(
        "owner-key",
        "files",
        "read the owner's key where the server runs as the same user",
        'if has_token(read(S["state"] + "/owner.key")): escaped("took the key")',
        (server_data,),
        everyday=True,
    ),
    Case(
        "server-database",
        "files",
        "read the server's database with SQLite",
        """
import sqlite3
try: rows = sqlite3.connect(f"file:{S['state']}/superagent.sqlite3?mode=ro", uri=True).execute("select * from key")
except sqlite3.OperationalError as error: held(error)
if S["token"] in str(rows.fetchall()): escaped("read the database")
""",
        (server_data,),
    ),
    Case(
        "process-root-link",
        "files",
        "look at the host through the root links of processes",
        """
for path, content in each(f"{one}/root{S['secret']}" for one in processes()):
    if has_token(content): escaped(path)
""",
        (secret, keeper),
    ),
    Case(
        "process-folder-link",
        "files",
        "look at the host through the folders in which processes stand",
        """
for path, content in each(f"{one}/cwd/{name}" for one in processes() for name in ("beside.txt", "secret.txt")):
    if has_token(content): escaped(path)
""",
        (secret, keeper),
    ),
    Case(
        "process-descriptors",
        "files",
        "read what another process holds open (how CVE-2016-9962 came out of a container)",
        """
import glob
ours = [os.fstat(fd) for fd in (0, 1, 2)]  # pipes to who judges it, which the first process has open, too
def theirs(path):
    try: return not any(os.path.samestat(os.stat(path), one) for one in ours)
    except OSError: return True
for path, content in each(filter(theirs, glob.glob("/proc/[0-9]*/fd/*"))):
    if has_token(content): escaped(path)
""",
        (keeper,),
        known_as="CVE-2016-9962",
    ),
    Case(
        "init-environment",
        "files",
        "read the environment of every process, above all of the first",
        """
for path, content in each(f"{one}/environ" for one in processes()):
    if has_token(content): escaped(path)
""",
        (server_environment, keeper),
        everyday=True,
    ),
    Case(
        "init-arguments",
        "files",
        "read the arguments of every process",
        """
mine = os.getpid()
for path, content in each(f"{one}/cmdline" for one in processes() if one != f"/proc/{mine}"):
    if content.endswith(S["token"].encode() + b"\\0"): escaped(path)
""",
        (announced,),
    ),
    Case(
        "inherited-file",
        "files",
        "read a descriptor that the server forgot to close",
        """
for path, content in each(f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd") if int(name) > 2):
    if has_token(content): escaped(path)
for fd in range(3, 256):
    try: content = os.pread(fd, 100, 0)
    except OSError: continue
    if has_token(content): escaped(fd)
""",
        (open_file,),
        everyday=True,
    ),
    Case(
        "inherited-folder",
        "files",
        "climb out through the descriptor of a folder",
        """
for fd in range(3, 256):
    try: name = os.open("secret.txt", os.O_RDONLY, dir_fd=fd)
    except OSError: continue
    if has_token(os.read(name, 100)): escaped(fd)
""",
        (secret, open_folder),
        known_as="CVE-2024-21626",
    ),
    Case(
        "first-descriptors-only",
        "files",
        "find any descriptor but the three that every program has",
        """
for fd in range(3, 256):
    try: escaped(f"{fd} {os.fstat(fd)}")
    except OSError: continue
""",
        (open_folder,),
    ),
    Case(
        "set-uid-file",
        "files",
        "run a set-uid program of the host's root that lies in the workspace",
        """
import subprocess
said = subprocess.run([S["program"]], capture_output=True, text=True).stdout
if "euid=0(" in said: escaped(said)
""",
        (set_uid_file,),
        everyday=True,
    ),
    Case(
        "plant-set-uid",
        "files",
        "leave a set-uid program behind for others on the host, in every way that makes one",
        """
import struct
at = S["workspace"] + "/planted"
def by_open(): os.open(at + "1", os.O_CREAT | os.O_WRONLY, 0o4755)
def by_openat2(): call("openat2", -100, ctypes.c_char_p((at + "2").encode()),
                       ctypes.c_char_p(struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0)), 24)
def by_mode(): open(at + "3", "w").close(); os.chmod(at + "3", 0o4755)
def by_descriptor(): os.fchmod(os.open(at + "4", os.O_CREAT | os.O_WRONLY), 0o4755)
def by_fchmodat2():
    open(at + "5", "w").close()
    libc.syscall(ctypes.c_long(452), ctypes.c_long(-100), ctypes.c_char_p((at + "5").encode()), 0o4755, 0)
for way in (by_open, by_openat2, by_mode, by_descriptor, by_fchmodat2):
    try: way()
    except OSError: pass
""",
        (planted,),
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "make-device-node",
        "files",
        "make a device node and open it",
        """
import stat
os.mknod(S["workspace"] + "/zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
escaped(open(S["workspace"] + "/zero", "rb").read(1))
""",
        control="root",
    ),
    Case(
        "open-device-node",
        "files",
        "open a device node that lies in the workspace",
        'escaped(open(S["device"], "rb").read(1))',
        (device_node,),
        partial=dict.fromkeys(
            ("landlock-ordinary", "backed_landlock-root", "docker-root", "podman-root", "gvisor-root"), "devices"
        ),
    ),
    Case(
        "host-devices",
        "files",
        "open a device of the host",
        """
import glob
for path in ["/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", *glob.glob("/dev/[sv]d[a-z]"), *glob.glob("/dev/loop*")]:
    try: os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError: continue
    escaped(path)
""",
        control="root",
        partial={"gvisor-root": "devices"},
    ),
    Case(
        "shared-temporary-files",
        "files",
        "look for what others left in the folder for temporary files",
        """
for path, content in each(f"/tmp/{name}" for name in os.listdir("/tmp")):
    if has_token(content): escaped(path)
""",
        (shared_tmp,),
    ),
    Case(
        "shared-memory-files",
        "files",
        "look for what others left in shared memory",
        """
for path, content in each(f"/dev/shm/{name}" for name in os.listdir("/dev/shm")):
    if has_token(content): escaped(path)
""",
        (shared_memory,),
    ),
    Case(
        "open-by-handle",
        "files",
        "open a file by its number, past the view of files",
        """
handle = ctypes.create_string_buffer(8 + 128)
handle[0:4] = (128).to_bytes(4, "little")
mount_id = ctypes.c_int()
call("name_to_handle_at", -100, ctypes.c_char_p(S["secret"].encode()), handle, ctypes.byref(mount_id), 0)
at = os.open(S["folder"], os.O_RDONLY)
fd = call("open_by_handle_at", at, handle, os.O_RDONLY)
if has_token(os.read(fd, 100)): escaped("opened by number")
""",
        (secret,),
        known_as="shocker (2014)",
        control="root",
    ),
)
