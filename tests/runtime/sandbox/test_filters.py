"""The shipped filters say what the table says: rebuilt byte for byte, and asked call by call on both architectures."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.filters import build
from superagent.runtime.sandbox.filters.rules import NEWEST, Above, Equal, Refusal
from superagent.runtime.sandbox.filters.shipped import (
    FOLDER,
    MACHINES,
    filter_for,
    filter_without_namespaces,
    name_of,
    shared_name_of,
)
from tests.needs import missing
from tests.runtime.sandbox.call_numbers import NUMBERS, number_of
from tests.runtime.sandbox.filter_machine import AARCH64, I386, TOKENS, X86_64, Call, judge

EVERY = list(build.every())
each_filter = pytest.mark.parametrize(("name", "machine", "table"), EVERY, ids=[name for name, _, _ in EVERY])

REFUSALS = {refusal for _, _, table in EVERY for refusal in table}
CONDITIONAL = sorted({call for refusal in REFUSALS if refusal.when for call in refusal.calls})
READ = {"x86_64": 0, "aarch64": 63}
REGISTER = st.integers(0, 2**64 - 1) | st.sampled_from(
    [0, 1, 2, 10, 0x5412, 0x1_0000_0002, 0x1_0000_5412, 0x7E02_0000, 0o4644, 0o100, 0o20000000, 6, 0x2000_0000]
)


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


def answers(machine: str, number: int, arguments: tuple[int, ...], table: tuple[Refusal, ...]) -> set[int]:
    """Say by the table alone what may be answered; where several refusals hold, any of them may speak."""
    if number > NEWEST:
        return {build.ERRNO | errno.ENOSYS}
    said = {
        build.ERRNO | refusal.answer
        for refusal in table
        if holds(refusal, arguments) and number in {number_of(call, machine) for call in refusal.calls}
    }
    return said or {build.ALLOW}


def libseccomp() -> ctypes.CDLL:
    lib = build.library()
    if lib is None or build.version(lib) != build.MADE_WITH:
        missing(f"libseccomp {build.MADE_WITH} is not installed: apt install libseccomp2 (Debian 12)")
    assert lib is not None
    return lib


def test_every_call_of_the_table_has_a_number_here() -> None:
    assert {call for refusal in REFUSALS for call in refusal.calls} == NUMBERS.keys()


def test_every_refusal_says_why() -> None:
    assert not [refusal for refusal in REFUSALS if len(refusal.why) < 20]


@each_filter
def test_the_shipped_file_is_what_the_table_builds(name: str, machine: str, table: tuple[Refusal, ...]) -> None:
    assert build.build(libseccomp(), machine, table) == (FOLDER / name).read_bytes()


def test_no_filter_lies_there_that_nothing_builds() -> None:
    assert {file.name for file in FOLDER.glob("*.bpf")} == {name for name, _, _ in EVERY}


def test_each_filter_is_given_for_what_its_name_says() -> None:
    for machine in MACHINES:
        for one in (False, True):
            shared = FOLDER / shared_name_of(machine, tcp=one)
            assert filter_without_namespaces(machine, tcp=one) == shared.read_bytes()
            for other in (False, True):
                file = FOLDER / name_of(machine, inet=one, unix=other)
                assert filter_for(machine, unix=other, inet=one) == file.read_bytes()


@each_filter
def test_every_number_is_answered_as_the_table_says(name: str, machine: str, table: tuple[Refusal, ...]) -> None:
    program = (FOLDER / name).read_bytes()
    for number in range(NEWEST + 60):
        expected = answers(machine, number, (0,) * 6, table)
        assert judge(program, Call(number, (), TOKENS[machine])) in expected, number


@each_filter
@given(call=st.sampled_from([*CONDITIONAL, "read"]), arguments=st.tuples(*[REGISTER] * 6))
def test_arguments_are_judged_as_the_table_says(
    name: str, machine: str, table: tuple[Refusal, ...], call: str, arguments: tuple[int, ...]
) -> None:
    number = READ[machine] if call == "read" else number_of(call, machine)
    assume(number is not None)
    assert number is not None
    verdict = judge((FOLDER / name).read_bytes(), Call(number, arguments, TOKENS[machine]))
    assert verdict in answers(machine, number, arguments, table)


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x5423])
@pytest.mark.parametrize("upper", [0, 1, 0xFFFF_FFFF])
def test_terminal_requests_are_compared_on_the_half_that_the_kernel_reads(request_number: int, upper: int) -> None:
    for machine in MACHINES:
        call = Call(number_of("ioctl", machine) or 0, (0, upper << 32 | request_number), TOKENS[machine])
        assert judge(filter_for(machine, unix=True), call) == build.ERRNO | errno.EPERM


def test_an_unknown_family_does_not_pass_as_an_allowed_one_by_its_upper_half() -> None:
    call = Call(41, (1 << 32 | 2, 1, 0))
    assert judge(filter_for("x86_64", unix=False), call) == build.ERRNO | errno.EAFNOSUPPORT


@each_filter
def test_calls_of_another_architecture_end_the_process(name: str, machine: str, table: tuple[Refusal, ...]) -> None:
    assert table
    program = (FOLDER / name).read_bytes()
    foreign = {X86_64, AARCH64, I386, 0x4000_0028} - {TOKENS[machine]}
    for architecture in foreign:
        for number in (0, 20, 200, NEWEST + 1, 2**32 - 1):
            assert judge(program, Call(number, (), architecture)) == build.KILL_PROCESS


def test_calls_of_x32_end_the_process() -> None:
    for number in (0, 41, 520, NEWEST + 1):
        assert judge(filter_for("x86_64", unix=True), Call(0x4000_0000 | number)) == build.KILL_PROCESS


def test_a_machine_without_a_filter_is_unavailable_and_says_what_else_works() -> None:
    for ask in (lambda: filter_for("riscv64", unix=False), lambda: filter_without_namespaces("riscv64", tcp=False)):
        with pytest.raises(SandboxUnavailable, match="riscv64") as refused:
            ask()
        assert "x86_64 and aarch64" in str(refused.value.hint)


def test_the_build_writes_every_file_anew(tmp_path: Path) -> None:
    libseccomp()
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
