"""The shipped filters say what the table says: rebuilt byte for byte, and asked call by call on both architectures."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.filters import build
from superagent.runtime.sandbox.filters.rules import NEWEST, Above, Equal, Refusal, refusals
from superagent.runtime.sandbox.filters.shipped import FOLDER, MACHINES, filter_for, name_of
from tests.needs import missing
from tests.runtime.sandbox.filter_machine import AARCH64, I386, TOKENS, X86_64, Call, judge

VARIANTS = list(build.every())

# <sys/syscall.h> of x86_64 and <asm-generic/unistd.h>, written down here so that no library is asked twice
NUMBERS = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "setns": (308, 268),
    "unshare": (272, 97),
    "clone3": (435, 435),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
    "clone": (56, 220),
    "ioctl": (16, 29),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
READ = {"x86_64": 0, "aarch64": 63}
REGISTER = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2, 10, 0x5412, 0x1_0000_0002, 0x1_0000_5412, 0x7E02_0000])


def number_of(name: str, machine: str) -> int | None:
    return NUMBERS[name][MACHINES.index(machine)]


def holds(refusal: Refusal, arguments: tuple[int, ...]) -> bool:
    for condition in refusal.when:
        given_value = arguments[condition.argument]
        match condition:
            case Equal(_, value, mask):
                if given_value & mask != value:
                    return False
            case Above(_, value):
                if given_value <= value:
                    return False
    return True


def answers(machine: str, number: int, arguments: tuple[int, ...], *, inet: bool, unix: bool) -> set[int]:
    """Say by the table alone what may be answered; where several refusals hold, any of them may speak."""
    if number > NEWEST:
        return {build.ERRNO | errno.ENOSYS}
    said = {
        build.ERRNO | refusal.answer
        for refusal in refusals(inet=inet, unix=unix)
        if holds(refusal, arguments) and number in {number_of(name, machine) for name in refusal.calls}
    }
    return said or {build.ALLOW}


def test_every_call_of_the_table_has_a_number_here() -> None:
    named = {name for refusal in refusals(inet=False, unix=False) for name in refusal.calls}
    assert named == NUMBERS.keys()


def test_every_refusal_says_why() -> None:
    assert not [refusal for refusal in refusals(inet=True, unix=True) if len(refusal.why) < 20]


@pytest.mark.parametrize(("machine", "inet", "unix"), VARIANTS)
def test_the_shipped_files_are_what_the_table_builds(machine: str, inet: bool, unix: bool) -> None:
    lib = build.library()
    if lib is None or build.version(lib) != build.MADE_WITH:
        missing(f"libseccomp {build.MADE_WITH} is not installed: apt install libseccomp2 (Debian 12)")
    assert lib is not None
    assert build.build(lib, machine, inet=inet, unix=unix) == filter_for(machine, unix, inet)


def test_no_filter_lies_there_that_nothing_builds() -> None:
    assert {file.name for file in FOLDER.glob("*.bpf")} == {
        name_of(machine, inet=inet, unix=unix) for machine, inet, unix in VARIANTS
    }


@pytest.mark.parametrize(("machine", "inet", "unix"), VARIANTS)
def test_every_number_is_answered_as_the_table_says(machine: str, inet: bool, unix: bool) -> None:
    program = filter_for(machine, unix, inet)
    for number in range(NEWEST + 60):
        expected = answers(machine, number, (0,) * 6, inet=inet, unix=unix)
        assert judge(program, Call(number, (), TOKENS[machine])) in expected, number


@pytest.mark.parametrize(("machine", "inet", "unix"), VARIANTS)
@given(name=st.sampled_from(["clone", "ioctl", "socket", "socketpair", "read"]), arguments=st.tuples(*[REGISTER] * 6))
def test_arguments_are_judged_as_the_table_says(
    machine: str, inet: bool, unix: bool, name: str, arguments: tuple[int, ...]
) -> None:
    number = READ[machine] if name == "read" else number_of(name, machine)
    assert number is not None
    verdict = judge(filter_for(machine, unix, inet), Call(number, arguments, TOKENS[machine]))
    assert verdict in answers(machine, number, arguments, inet=inet, unix=unix)


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x5423])
@pytest.mark.parametrize("upper", [0, 1, 0xFFFF_FFFF])
def test_terminal_requests_are_compared_on_the_half_that_the_kernel_reads(request_number: int, upper: int) -> None:
    for machine in MACHINES:
        call = Call(number_of("ioctl", machine) or 0, (0, upper << 32 | request_number), TOKENS[machine])
        assert judge(filter_for(machine, unix=True), call) == build.ERRNO | errno.EPERM


def test_an_unknown_family_does_not_pass_as_an_allowed_one_by_its_upper_half() -> None:
    call = Call(41, (1 << 32 | 2, 1, 0))
    assert judge(filter_for("x86_64", unix=False), call) == build.ERRNO | errno.EAFNOSUPPORT


@pytest.mark.parametrize(("machine", "inet", "unix"), VARIANTS)
def test_calls_of_another_architecture_end_the_process(machine: str, inet: bool, unix: bool) -> None:
    program = filter_for(machine, unix, inet)
    foreign = {X86_64, AARCH64, I386, 0x4000_0028} - {TOKENS[machine]}
    for architecture in foreign:
        for number in (0, 20, 200, NEWEST + 1, 2**32 - 1):
            assert judge(program, Call(number, (), architecture)) == build.KILL_PROCESS


def test_calls_of_x32_end_the_process() -> None:
    for number in (0, 41, 520, NEWEST + 1):
        assert judge(filter_for("x86_64", unix=True), Call(0x4000_0000 | number)) == build.KILL_PROCESS


def test_a_machine_without_a_filter_is_unavailable_and_says_what_else_works() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64") as refused:
        filter_for("riscv64", unix=False)
    assert "x86_64 and aarch64" in str(refused.value.hint)


def test_the_build_writes_every_file_anew(tmp_path: Path) -> None:
    lib = build.library()
    if lib is None or build.version(lib) != build.MADE_WITH:
        missing(f"libseccomp {build.MADE_WITH} is not installed: apt install libseccomp2 (Debian 12)")
    build.main(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        file.name: file.read_bytes() for file in FOLDER.glob("*.bpf")
    }


def test_the_build_stops_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_name: str) -> None: ...

    monkeypatch.setattr("ctypes.util.find_library", nothing)
    with pytest.raises(SystemExit, match="libseccomp2"):
        build.main(tmp_path)
    assert not os.listdir(tmp_path)
