"""The filter of containers decides as the native one does, call by call, on both architectures."""

from __future__ import annotations

import functools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from superagent.runtime.sandbox.containers.call_names import call_names
from superagent.runtime.sandbox.containers.seccomp import CALLS, profile_for
from superagent.runtime.sandbox.filters import build
from superagent.runtime.sandbox.filters.rules import NEWEST
from superagent.runtime.sandbox.filters.shipped import MACHINES, filter_for
from tests.needs import missing
from tests.runtime.sandbox.call_numbers import number_of
from tests.runtime.sandbox.containers.compiled import compiled
from tests.runtime.sandbox.filter_machine import TOKENS, Call, judge

KILLED = 0x0000_0000
CONDITIONAL = (
    *("clone", "ioctl", "chmod", "fchmod", "fchmodat", "creat", "mknod", "mknodat"),
    *("open", "openat", "socket", "socketpair"),
)
# each register at its edges: what is refused, its neighbours, the same in the upper half, and anything
REGISTER = st.integers(0, 2**64 - 1) | st.sampled_from(
    [
        *(0, 1, 2, 3, 5, 10, 16, 17, 38, 40, 0x5411, 0x5412, 0x5413, 0x541B, 0x541C, 0x5422, 0x5423, 0x5424),
        *(0x1_0000_0002, 0x1_0000_5412, 0x8000_5412, 0x7E02_0000, 0x1000_0000, 0o644, 0o4644, 0o100, 0o20000000),
        *(0o4000, 0x8_0001, 0x8_0002, 0x800, 2**64 - 1),
    ]
)
each = pytest.mark.parametrize(("machine", "unix"), [(one, unix) for one in MACHINES for unix in (False, True)])


@functools.cache
def program(machine: str, unix: bool) -> bytes:
    lib = build.library()
    if lib is None or build.version(lib) != build.MADE_WITH:
        missing(f"libseccomp {build.MADE_WITH} is not installed: apt install libseccomp2 (Debian 12)")
    assert lib is not None
    profile = profile_for(machine, unix=unix)
    assert profile is not None
    return compiled(lib, profile, machine)


def allows(filter: bytes, machine: str, number: int, arguments: tuple[int, ...] = ()) -> bool:
    return judge(filter, Call(number, arguments, TOKENS[machine])) == build.ALLOW


@each
def test_of_calls_without_arguments_that_matter_the_same_are_allowed(machine: str, unix: bool) -> None:
    special = {number_of(call, machine) for call in CONDITIONAL}
    native = filter_for(machine, unix=unix)
    for number in set(range(NEWEST + 60)) - special:
        theirs = judge(program(machine, unix), Call(number, (), TOKENS[machine]))
        ours = judge(native, Call(number, (), TOKENS[machine]))
        if number > NEWEST or not _named(machine, number):
            assert theirs != build.ALLOW, number  # unknown to both, or a hole among the numbers
        else:
            assert theirs == ours, number


@functools.cache
def _numbers(machine: str) -> frozenset[int]:
    lib = build.library()
    assert lib is not None
    found = (
        lib.seccomp_syscall_resolve_name_arch(TOKENS[machine], name.encode()) for name in CALLS.read_text().split()
    )
    return frozenset(found)


def _named(machine: str, number: int) -> bool:
    return number in _numbers(machine)


@each
@given(call=st.sampled_from(CONDITIONAL), arguments=st.tuples(*[REGISTER] * 4))
def test_of_calls_that_depend_on_their_arguments_the_same_are_allowed(
    machine: str, unix: bool, call: str, arguments: tuple[int, ...]
) -> None:
    number = number_of(call, machine)
    assume(number is not None)
    assert number is not None
    native = filter_for(machine, unix=unix)

    assert allows(program(machine, unix), machine, number, arguments) == allows(native, machine, number, arguments)


def test_a_call_of_another_architecture_is_never_allowed() -> None:
    assert judge(program("x86_64", False), Call(0, (), 0x4000_0003)) == KILLED
    assert judge(program("x86_64", False), Call(0x4000_0000, (), TOKENS["x86_64"])) != build.ALLOW


def test_a_machine_that_nobody_has_looked_at_has_no_filter() -> None:
    assert profile_for("riscv64", unix=False) is None


def test_the_names_are_those_that_the_library_knows() -> None:
    program("x86_64", False)
    lib = build.library()
    assert lib is not None

    assert CALLS.read_text("ascii").split() == call_names(lib)
