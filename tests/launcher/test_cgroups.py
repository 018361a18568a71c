"""Control groups of both versions: on trees of plain files, and on this machine's own where it has them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from superagent_launcher import cgroups, leftovers
from superagent_launcher.cgroups import Held, Hierarchy, hierarchies, name_of, named_after_the_dead
from superagent_launcher.groups import Groups
from tests.launcher.beside import LIMITS
from tests.needs import missing
from tests.until import until

NAME = "superagent-1-2-3"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Tree:
    """A tree of plain files that looks like the kernel's, and what makes a folder in it as the kernel would."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.proc = top / "proc"

    def v1(self, own: str = "/") -> None:
        """Mount the old controllers, each by itself, with this process at a place in them."""
        lines, mounts = list[str](), list[str]()
        for number, names in enumerate(("memory", "pids", "cpu,cpuacct", "freezer"), 2):
            place = self.top / names
            self.furnish(place / own[1:], old=True)
            lines.append(f"{number}:{names}:{own}")
            mounts.append(f"{number} 1 0:{number} / {place} rw - cgroup cgroup rw,{names}")
        write(self.proc / "cgroup", "\n".join(lines) + "\n0::/\n")
        write(self.proc / "mountinfo", "\n".join(mounts) + "\n1 0 0:1 / / rw - ext4 disk rw\n")

    def v2(self, own: str, handed_on: dict[str, str], controllers: str = "cpu memory pids io") -> None:
        """Mount the one tree; `handed_on` says what each group on the way hands on."""
        place = self.top / "unified"
        path = place
        for part in ["", *own.split("/")[1:]]:
            path = path / part
            self.furnish(path, old=False)
        write(place / "cgroup.controllers", controllers)
        for group, names in handed_on.items():
            write(place / group.strip("/") / "cgroup.subtree_control", names)
        write(self.proc / "cgroup", f"0::{own}\n")
        write(self.proc / "mountinfo", f"5 1 0:5 / {place} rw - cgroup2 cgroup2 rw,nsdelegate\n")

    def furnish(self, folder: Path, *, old: bool) -> None:
        """Put the kernel's files into a folder."""
        common = {"cgroup.procs": ""}
        first = {
            "memory.limit_in_bytes": "9223372036854771712", "memory.memsw.limit_in_bytes": "9223372036854771712",
            "memory.usage_in_bytes": "4096", "memory.max_usage_in_bytes": "8192",
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "pids.max": "max",
            "pids.current": "3", "pids.events": "max 1\n", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1",
            "cpuacct.usage": "1500000000",
        }  # fmt: skip
        second = {
            "cgroup.kill": "", "cgroup.subtree_control": "", "memory.max": "max", "memory.oom.group": "0",
            "memory.swap.max": "max", "memory.current": "4096", "memory.peak": "8192",
            "memory.events": "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\n", "pids.max": "max", "pids.current": "3",
            "pids.events": "max 1\n", "cpu.max": "max 100000", "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        }  # fmt: skip
        for name, text in {**common, **(first if old else second)}.items():
            write(folder / name, text)

    def make(self, *, old: bool) -> Callable[[str], None]:
        def mkdir(path: str) -> None:
            os.mkdir(path)
            self.furnish(Path(path), old=old)

        return mkdir

    def found(self) -> list[Hierarchy]:
        return hierarchies(str(self.proc))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    remove = os.rmdir

    def rmdir(path: str) -> None:  # the kernel's files go with their folder
        if os.path.exists(path) and read(Path(path) / "cgroup.procs").strip():
            raise OSError(16, "busy")
        for file in Path(path).glob("*.*"):
            file.unlink()
        remove(path)

    monkeypatch.setattr(cgroups.os, "rmdir", rmdir)
    return Tree(tmp_path)


def read(path: Path) -> str:
    return path.read_text()


# ---- version 1


def test_limits_of_version_1_are_set_in_each_controllers_own_tree(tree: Tree) -> None:
    tree.v1("/service")
    groups = Groups(tree.found(), NAME, tree.make(old=True))

    group = groups.new(4)
    assert group is not None
    group.limit({**LIMITS, "memory_bytes": 1e6, "processes": 5, "cpus": 0.5})

    assert (groups.version, groups.controllers) == (1, {"memory", "pids", "cpu", "cpuacct"})
    memory, pids, cpu = (tree.top / one / "service" / NAME / "4" for one in ("memory", "pids", "cpu,cpuacct"))
    assert read(memory / "memory.limit_in_bytes").startswith("1000000")
    assert read(memory / "memory.memsw.limit_in_bytes").startswith("1000000")
    assert read(pids / "pids.max").startswith("5")
    assert read(cpu / "cpu.cfs_quota_us").startswith("50000")
    assert not (tree.top / "freezer" / "service" / NAME).exists()


def test_what_a_group_of_version_1_has_used_is_read(tree: Tree) -> None:
    tree.v1()
    group = Groups(tree.found(), NAME, tree.make(old=True)).new(1)
    assert group is not None

    usage = group.usage()

    assert group.cpu_s() == 1.5
    assert (usage.memory_bytes, usage.peak_bytes, usage.processes) == (4096, 8192, 3)
    assert (usage.out_of_memory, usage.refused_processes) == (2, 1)


def test_a_process_joins_all_trees_of_version_1(tree: Tree) -> None:
    tree.v1()
    group = Groups(tree.found(), NAME, tree.make(old=True)).new(1)
    assert group is not None

    group.join()

    assert [read(Path(path) / "cgroup.procs") for path in group.paths] == ["0"] * 3


def test_groups_go_when_they_are_empty(tree: Tree) -> None:
    tree.v1()
    groups = Groups(tree.found(), NAME, tree.make(old=True))
    group = groups.new(1)
    assert group is not None

    assert group.kill()
    assert group.remove()
    assert group.remove()
    assert groups.close()
    assert not list(tree.top.rglob(NAME))


def test_a_group_that_something_runs_in_stays_and_what_runs_is_killed(tree: Tree) -> None:
    tree.v1()
    groups = Groups(tree.found(), NAME, tree.make(old=True))
    group = groups.new(1)
    assert group is not None
    sleeper = subprocess.Popen(["sleep", "600"])
    (Path(group.paths[0]) / "cgroup.procs").write_text(f"{sleeper.pid}\n")

    assert not group.kill()
    assert not group.remove()
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not group.kill()  # the number stands in the file for ever here, and nobody has it any more
    assert not groups.close()


def test_a_tree_that_may_not_be_written_is_one_controller_less(tree: Tree) -> None:
    tree.v1()

    def make(path: str) -> None:
        if "memory" in path:
            raise OSError(30, "read-only")
        tree.make(old=True)(path)

    assert Groups(tree.found(), NAME, make).controllers == {"pids", "cpu", "cpuacct"}


def test_a_group_that_cannot_be_made_leaves_nothing(tree: Tree) -> None:
    tree.v1()

    def make(path: str) -> None:
        if path.endswith("/1") and "pids" in path:
            raise OSError(28, "full")
        tree.make(old=True)(path)

    groups = Groups(tree.found(), NAME, make)

    with pytest.raises(OSError, match="full"):
        groups.new(1)
    assert not list(tree.top.rglob(f"{NAME}/1"))


def test_without_groups_there_is_none(tree: Tree) -> None:
    write(tree.proc / "cgroup", "0::/\n")
    write(tree.proc / "mountinfo", "1 0 0:1 / / rw - ext4 disk rw\n")

    groups = Groups(tree.found(), NAME)

    assert (groups.version, groups.controllers, groups.new(1), groups.close()) == (0, frozenset(), None, True)


def test_a_place_inside_of_a_container_is_found_beneath_its_mount(tree: Tree) -> None:
    tree.v1()
    write(tree.proc / "cgroup", "2:memory:/docker/abc/inner\n3:pids:/elsewhere\n")
    write(
        tree.proc / "mountinfo",
        f"2 1 0:2 /docker/abc {tree.top}/memory rw - cgroup cgroup rw,memory\n"
        f"3 1 0:3 /docker/abc {tree.top}/pids rw - cgroup cgroup rw,pids\n",
    )

    assert [one.own for one in tree.found()] == [f"{tree.top}/memory/inner", f"{tree.top}/pids"]


# ---- version 2


def test_limits_of_version_2_are_set_beneath_the_nearest_group_that_hands_controllers_on(tree: Tree) -> None:
    tree.v2("/user.slice/session.scope", {"/": "cpu memory pids", "/user.slice": "memory pids"})
    made = tree.make(old=False)
    own = str(tree.top / "unified/user.slice/session.scope")

    def make(path: str) -> None:
        assert not path.startswith(own), "a group with processes in it has no sub-groups with controllers"
        made(path)
        if path.endswith(NAME):
            write(Path(path) / "cgroup.controllers", "memory pids")
            write(Path(path) / "cgroup.subtree_control", "memory pids")

    # plain files take any word; the kernel refuses it to a group with processes in it
    (tree.top / "unified/user.slice/session.scope/cgroup.subtree_control").unlink()
    groups = Groups(tree.found(), NAME, make)
    group = groups.new(9)
    assert group is not None
    group.limit({**LIMITS, "memory_bytes": 1e6, "processes": 5, "cpus": 0.5})

    place = tree.top / "unified/user.slice" / NAME / "9"
    assert (groups.version, groups.controllers) == (2, {"memory", "pids"})
    assert read(place / "memory.max").startswith("1000000")
    assert read(place / "memory.oom.group").startswith("1")
    assert read(place / "memory.swap.max").startswith("0")
    assert read(place / "pids.max").startswith("5")
    assert read(place / "cpu.max") == "max 100000"  # nobody handed this controller on


def test_the_processor_share_of_version_2_is_a_quota_of_each_period(tree: Tree) -> None:
    tree.v2("/", {"/": "cpu memory pids"})
    made = tree.make(old=False)

    def make(path: str) -> None:
        made(path)
        write(Path(path) / "cgroup.subtree_control", "cpu memory pids")

    group = Groups(tree.found(), NAME, make).new(1)
    assert group is not None
    group.limit({**LIMITS, "cpus": 1.5})

    assert read(tree.top / "unified" / NAME / "1" / "cpu.max").startswith("150000 100000")


def test_what_a_group_of_version_2_has_used_is_read_and_it_is_killed_in_one_step(tree: Tree) -> None:
    tree.v2("/", {"/": "cpu memory pids"})
    made = tree.make(old=False)

    def make(path: str) -> None:
        made(path)
        write(Path(path) / "cgroup.subtree_control", "cpu memory pids")

    groups = Groups(tree.found(), NAME, make)
    group = groups.new(1)
    assert group is not None
    group.join()
    usage = group.usage()
    place = tree.top / "unified" / NAME / "1"
    (place / "cgroup.procs").write_text("4711\n")

    assert not group.kill()
    assert read(place / "cgroup.kill") == "1"
    assert not group.remove()
    assert group.cpu_s() == 1.5
    assert (usage.memory_bytes, usage.peak_bytes, usage.processes) == (4096, 8192, 3)
    assert (usage.out_of_memory, usage.refused_processes) == (2, 1)
    (place / "cgroup.procs").write_text("")
    assert group.kill()
    assert groups.close()
    assert not list(tree.top.rglob(NAME))


def test_a_version_2_without_its_controllers_is_not_used(tree: Tree) -> None:
    tree.v2("/", {"/": ""}, controllers="hugetlb")

    assert Groups(tree.found(), NAME).version == 0


def test_a_version_2_in_which_nothing_may_be_made_falls_back(tree: Tree) -> None:
    tree.v2("/a/b", {"/": "memory", "/a": "memory"})

    def make(path: str) -> None:
        raise OSError(30, "read-only")

    assert Groups(tree.found(), NAME, make).version == 0


def test_a_group_that_hands_nothing_on_after_all_is_removed_again(tree: Tree) -> None:
    tree.v2("/", {"/": "memory"})
    made = tree.make(old=False)

    def make(path: str) -> None:
        made(path)
        (Path(path) / "cgroup.subtree_control").unlink()

    assert Groups(tree.found(), NAME, make).version == 0
    assert not list(tree.top.rglob(NAME))


# ---- names of the living and the dead


def test_a_launchers_name_tells_whether_it_lives() -> None:
    child = subprocess.Popen(["sleep", "600"])
    name = name_of(child.pid)
    assert not named_after_the_dead(name)
    child.kill()
    child.wait()

    assert named_after_the_dead(name)
    with pytest.raises(OSError, match="No such"):
        name_of(child.pid)


def test_names_of_others_are_nobodys_business() -> None:
    namespace = os.stat("/proc/self/ns/pid").st_ino
    assert not named_after_the_dead("superagent")
    assert not named_after_the_dead("superagent-1-2-3-4")
    assert not named_after_the_dead(f"superagent-{namespace + 1}-1-1")  # in another container: it may well live
    assert named_after_the_dead(f"superagent-{namespace}-{os.getpid()}-1")  # the number lives, but began another time


def test_a_launcher_that_cannot_be_looked_at_just_now_is_not_taken_for_dead(tmp_path: Path) -> None:
    namespace = os.stat("/proc/self/ns/pid").st_ino
    write(tmp_path / "self" / "ns" / "pid", "")
    here = os.stat(tmp_path / "self" / "ns" / "pid").st_ino
    (tmp_path / "7" / "stat").mkdir(parents=True)  # any error but that there is none

    assert not named_after_the_dead(f"superagent-{here}-7-5", str(tmp_path))
    assert named_after_the_dead(f"superagent-{here}-8-5", str(tmp_path))
    assert not named_after_the_dead(f"superagent-{namespace}-8-5", str(tmp_path))


def test_a_member_of_a_group_that_cannot_be_seen_from_here_is_not_taken_for_oneself(tmp_path: Path) -> None:
    write(tmp_path / "cgroup.procs", "0\n")
    script = f"from superagent_launcher.cgroups import kill; print(kill({str(tmp_path)!r}))"

    # in a session of its own: what reads 0 would be sent to all of the caller's group
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, start_new_session=True)

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_groups_of_the_dead_are_found_and_removed_and_those_of_the_living_stay(tree: Tree) -> None:
    tree.v1("/service")
    namespace = os.stat("/proc/self/ns/pid").st_ino
    dead, living = f"superagent-{namespace}-{2**22}-5", name_of(os.getpid())
    for name in (dead, living):
        tree.furnish(tree.top / "memory" / "service" / name / "3", old=True)
        write(tree.top / "memory" / "service" / name / "cgroup.procs", "")

    leftovers.sweep(tree.found())

    assert not (tree.top / "memory" / "service" / dead).exists()
    assert (tree.top / "memory" / "service" / living / "3").exists()


def test_processes_that_bear_the_name_of_a_dead_launcher_are_ended() -> None:
    dead = f"superagent-{os.stat('/proc/self/ns/pid').st_ino}-{2**22}-5"
    left = subprocess.Popen([dead, "600"], executable=shutil.which("sleep"))
    until(lambda: Path(f"/proc/{left.pid}/cmdline").read_bytes().startswith(dead.encode()), "its name")

    leftovers.sweep([])

    assert left.wait(10) == -signal.SIGKILL


def test_numbers_are_found_by_their_keys(tmp_path: Path) -> None:
    write(tmp_path / "one", "17\n")
    write(tmp_path / "many", "a 1\noom_kill 5\nlast")

    held = Held()
    assert held.number_in(str(tmp_path / "one")) == 17
    assert held.number_in(str(tmp_path / "many"), "oom_kill") == 5
    assert held.number_in(str(tmp_path / "many"), "last") is None
    assert held.number_in(str(tmp_path / "many"), "nosuch") is None
    assert held.number_in(str(tmp_path / "nosuch")) is None
    (tmp_path / "one").write_text("18")
    assert held.number_in(str(tmp_path / "one")) == 18
    held.close()
    held.close()


# ---- this machine's own


def test_on_this_machine_a_group_holds_what_joins_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root makes groups on this machine")
    groups = Groups(hierarchies(), name_of(os.getpid()))
    if not {"memory", "pids"} <= groups.controllers:
        missing("this machine hands no controllers on")
    group = groups.new(1)
    assert group is not None
    group.limit(LIMITS)
    pid = os.fork()
    if pid == 0:
        group.join()
        os.execv("/bin/sleep", ["sleep", "600"])  # noqa: S606

    try:
        until(lambda: group.usage().processes == 1, "the process in its group")
        assert not group.remove()
        until(group.kill, "its end")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        until(group.remove, "its removal")
    finally:
        until(groups.close, "the end of all groups")
