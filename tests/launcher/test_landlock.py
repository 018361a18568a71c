"""Processes that confine themselves: what Landlock and the filter hold, what they do not, and that it is said so."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from superagent_launcher import landlock
from tests.attack.native import sized_workspace
from tests.attack.running import Outcome, Step
from tests.attack.trial import sandbox_uid
from tests.launcher.confining import confined, needs_landlock
from tests.needs import program
from tests.ordinary_user import open_folder
from tests.promise import ROOT


def text_of(outcome: Outcome) -> str:
    assert outcome.code == 0, outcome.stderr.decode()
    return outcome.stdout.decode().strip()


@contextmanager
def workspace() -> Generator[tuple[Path, int]]:
    uid = sandbox_uid()
    with sized_workspace(uid, sized=False) as folder:
        yield folder, uid


def python(code: str, *given: str) -> Sequence[str]:
    return (program("python3"), "-I", "-S", "-c", code, *given)


async def test_a_command_works_in_its_workspace() -> None:
    text = (
        "mkdir -p a/b && echo 8 >a/b/x && mv a/b/x y && ln y z && ln -s z w && mkfifo p && "
        "chmod 600 y && cat <w && rm -r a && truncate -s 1 y && wc -c <y >/dev/null && "
        "head -c 1 /dev/zero >/dev/null && ls | tr '\\n' ' '"
    )
    with workspace() as (folder, uid):
        assert text_of(await confined(("/bin/sh", "-c", text), folder, uid)).split() == ["8", "p", "w", "y", "z"]


async def test_nothing_else_is_read_written_listed_or_made() -> None:
    code = """
import os, sys
at = sys.argv[1]
for name, way in {
    "read": lambda: open(at + "/x").read(),
    "write": lambda: open(at + "/x", "w"),
    "append": lambda: open(at + "/x", "a"),
    "list": lambda: os.listdir(at),
    "make": lambda: open(at + "/new", "w"),
    "folder": lambda: os.mkdir(at + "/new"),
    "remove": lambda: os.unlink(at + "/x"),
    "empty": lambda: os.truncate(at + "/x", 0),
    "move": lambda: os.rename(at + "/x", "x"),
    "link": lambda: os.link(at + "/x", "x"),
    "place": lambda: os.rename("own", at + "/new"),
    "execute": lambda: os.posix_spawn(at + "/program", ["x"], {}),
    "processes": lambda: os.listdir("/proc"),
    "devices": lambda: os.open("/dev/tty", os.O_RDWR),
    "root": lambda: os.listdir("/"),
}.items():
    try: way()
    except OSError as error: print(name, error.errno)
    else: print(name, 0)
"""
    with open_folder() as outside, workspace() as (folder, uid):
        for name, mode in (("x", 0o666), ("program", 0o755)):
            (outside / name).write_text("#!/bin/sh\n")
            (outside / name).chmod(mode)
        (folder / "own").touch()
        lines = text_of(await confined(python(code, str(outside)), folder, uid)).splitlines()
        said = dict(line.split() for line in lines)
        refused = {str(errno.EACCES), str(errno.EXDEV)}
        assert {name for name, number in said.items() if number not in refused} == set()
        assert len(said) == 15
        assert (outside / "x").read_text() == "#!/bin/sh\n"


async def test_what_is_readable_can_be_executed_but_not_written() -> None:
    code = """
import os, subprocess
print(subprocess.run(["/usr/bin/id", "-u"], capture_output=True, text=True).stdout.strip())
for path in ("/usr/new", "/usr/bin/id"):
    try: open(path, "w")
    except OSError as error: print(error.errno)
"""
    with workspace() as (folder, uid):
        said = text_of(await confined(python(code), folder, uid)).split()
        assert said == [str(uid), str(errno.EACCES), str(errno.EACCES)]


async def test_a_device_node_is_never_made() -> None:
    code = """
import os, stat
for kind in (stat.S_IFCHR, stat.S_IFBLK):
    try: os.mknod("node", 0o600 | kind, os.makedev(1, 5))
    except OSError as error: print(error.errno)
"""
    with workspace() as (folder, uid):
        refused = {str(errno.EACCES), str(errno.EPERM)}
        assert set(text_of(await confined(python(code), folder, uid)).split()) <= refused


async def test_nothing_that_is_executed_can_gain_a_right() -> None:
    code = "import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0), ctypes.CDLL(None).prctl(21, 0, 0, 0, 0))"
    with workspace() as (folder, uid):
        assert text_of(await confined(python(code), folder, uid)) == "1 2"  # no new privileges; filtered calls


async def test_the_confinement_reaches_everything_that_descends() -> None:
    text = 'sh -c \'setsid sh -c "cat $0/x; ls $0; echo done" "$0"\' "$0" 2>&1'
    with open_folder() as outside, workspace() as (folder, uid):
        (outside / "x").write_text("secret")
        said = text_of(await confined(("/bin/sh", "-c", text, str(outside)), folder, uid))
        assert "secret" not in said
        assert said.count("Permission denied") == 2
        assert said.endswith("done")


CALL = """
import socket, sys
for port in sys.argv[1:]:
    try: print(socket.create_connection(("127.0.0.1", int(port)), 5).recv(10).decode())
    except OSError as error: print(error.errno)
"""


@contextmanager
def listening() -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_without_a_port_nothing_can_be_called() -> None:
    with workspace() as (folder, uid), listening() as port:
        said = text_of(await confined(python(CALL, str(port)), folder, uid))
        assert said == str(errno.EAFNOSUPPORT)


async def test_only_the_ports_that_are_given_can_be_called() -> None:
    with workspace() as (folder, uid), socket.create_server(("127.0.0.1", 0)) as given, listening() as other:
        port = given.getsockname()[1]
        code = CALL.replace(".recv(10).decode()", ".fileno() > 2")
        said = text_of(await confined(python(code, str(port), str(other)), folder, uid, tcp=True, ports=[port]))
        assert said.split() == ["True", str(errno.EACCES)]


async def test_nobody_listens_where_only_calling_is_given() -> None:
    code = """
import socket
for way in (lambda: socket.create_server(("127.0.0.1", 0)), lambda: socket.socket().bind(("127.0.0.1", 0)),
            lambda: socket.socket().listen()):
    try: way()
    except OSError as error: print(error.errno)
"""
    with workspace() as (folder, uid):
        said = text_of(await confined(python(code), folder, uid, tcp=True, ports=[9])).split()
        assert said == [str(errno.EACCES), str(errno.EACCES), str(errno.EPERM)]


BY_DESCRIPTOR = "signal.pidfd_send_signal(os.pidfd_open(pid), 9)"


@pytest.mark.parametrize("way", ["os.kill(pid, 0)", "os.kill(pid, 9)", BY_DESCRIPTOR])
async def test_processes_outside_get_no_signal(way: str) -> None:
    with workspace() as (folder, uid):
        sleeper = subprocess.Popen(Step((program("sleep"), "60"), uid, {}).command(terminal=False))
        try:
            code = (
                f"import os, signal, sys\npid = int(sys.argv[1])\ntry: {way}\nexcept OSError as bad: print(bad.errno)"
            )
            assert text_of(await confined(python(code, str(sleeper.pid)), folder, uid)) == str(errno.EPERM)
            assert sleeper.poll() is None
        finally:
            sleeper.kill()
            sleeper.wait(10)


def test_each_version_is_asked_only_for_what_it_knows() -> None:
    sizes = {version: [part.bit_count() for part in landlock.handled(version)] for version in range(1, 8)}
    assert sizes == {
        1: [13, 0, 0],
        2: [14, 0, 0],
        3: [15, 0, 0],
        4: [15, 2, 0],
        5: [16, 2, 0],
        6: [16, 2, 2],
        7: [16, 2, 2],
    }


def alone(code: str) -> str:
    """Run Python text in a process of its own, since what it gives up it never gets back; gives what it printed."""
    text = f"import errno, os, sys\nfrom superagent_launcher import landlock\n{code}"
    ended = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("version", range(1, 8))
def test_a_kernel_of_each_version_is_asked_in_its_own_words(version: int) -> None:
    """This kernel takes the older requests as those kernels do, so what is asked of them is well-formed."""
    needs_landlock(version)
    code = f"""
landlock.abi = lambda: {version}
here = os.open(".", os.O_PATH)
allow_all = bytes([6, 0, 0, 0, 0, 0, 0xFF, 0x7F])
landlock.confine(["/usr", sys.prefix, sys.base_prefix], [here], ["/dev/null"], [80], allow_all)
os.fstat(here)
for path in ("/etc", os.getcwd()):
    try: print(len(os.listdir(path)) > 0)
    except PermissionError: print("refused")
"""
    assert alone(code).split() == ["refused", "True"]


@pytest.mark.parametrize("most", [16, 256, 257])
def test_whoever_may_open_few_files_is_confined_all_the_same(most: int) -> None:
    needs_landlock(1)
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))
landlock.confine([], [])
try: os.listdir("/")
except PermissionError: print("refused")
"""
    assert alone(code) == "refused"


def test_what_is_claimed_grows_with_the_version_and_never_says_more_than_it_can() -> None:
    rank = {"none": 0, "partial": 1, "enforced": 2}
    for own_user in (False, True):
        for tcp in (False, True):
            steps = [landlock.enforced(version, own_user=own_user, tcp=tcp) for version in range(8)]
            assert set(steps[0].values()) == {"none"}
            for before, after in itertools.pairwise(steps[1:]):
                assert all(rank[after[name]] >= rank[before[name]] for name in before)
            assert steps[7]["names"] == "partial"
            assert steps[7]["metadata"] != "enforced"
    assert landlock.enforced(3, own_user=False, tcp=True)["network"] == "none"
    assert landlock.enforced(5, own_user=False, tcp=False)["signals"] == "none"
    assert landlock.enforced(2, own_user=True, tcp=False)["files"] == "partial"


def test_where_the_kernel_has_no_landlock_nothing_is_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(OSError, match="does not enforce"):
        landlock.confine([], [])


def test_a_place_that_is_not_there_is_an_error_and_confines_nothing(tmp_path: Path) -> None:
    needs_landlock(1)
    with pytest.raises(FileNotFoundError):
        landlock.confine([str(tmp_path / "nowhere")], [])
    assert os.listdir("/")


def test_a_filter_is_in_force_at_once_and_a_faulty_one_is_an_error() -> None:
    # the filter answers EIO to `getppid`, which nothing needs to come to its end
    code = """
import struct
try: landlock.filter_calls(bytes(8))
except OSError as error: print(error.errno == errno.EINVAL)
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, {"x86_64": 110, "aarch64": 173}[os.uname().machine]), (6, 0, 0, 0x50005),
         (6, 0, 0, 0x7FFF0000)]
landlock.filter_calls(b"".join(struct.pack("=HBBI", *line) for line in lines))
import ctypes
print(ctypes.CDLL(None, use_errno=True).getppid())
"""
    assert alone(code).split() == ["True", "-5"]


def test_root_gives_up_every_right_of_every_program() -> None:
    if os.geteuid():
        pytest.skip("only root has a set of rights to empty")
    code = """
import ctypes
libc = ctypes.CDLL(None)
print(sum(libc.prctl(23, number, 0, 0, 0) == 1 for number in range(64)) > 0)
landlock.drop_capabilities()
print(sum(libc.prctl(23, number, 0, 0, 0) == 1 for number in range(64)))
"""
    assert alone(code).split() == ["True", "0"]


def test_who_may_not_give_rights_up_is_told() -> None:
    if os.geteuid():
        with pytest.raises(PermissionError):
            landlock.drop_capabilities()
        return
    code = """
os.setuid(65534)
try: landlock.drop_capabilities()
except PermissionError: print("refused")
"""
    assert alone(code) == "refused"
