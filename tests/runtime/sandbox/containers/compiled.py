"""What a runtime makes of an engine's profile of system calls: compiled with libseccomp, as runc does it."""

from __future__ import annotations

import ctypes
import json
import tempfile
from typing import Any

from superagent.runtime.sandbox.filters.build import ALLOW, ERRNO
from tests.runtime.sandbox.filter_machine import TOKENS

_ACTIONS = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": ERRNO}
_MASKED_EQUAL = 7  # enum scmp_compare
_EPERM = 1  # runc's default for `SCMP_ACT_ERRNO`


class Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def compiled(lib: ctypes.CDLL, profile: str, machine: str) -> bytes:
    """Give the program for a machine, without what runc puts before it for calls that are newer than the profile."""
    whole: dict[str, Any] = json.loads(profile)
    assert whole["defaultAction"] == "SCMP_ACT_ERRNO"
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(ERRNO | _EPERM)))
    try:
        native = lib.seccomp_arch_native
        native.restype = ctypes.c_uint32
        if native() != TOKENS[machine]:
            assert not lib.seccomp_arch_remove(context, native())
            assert not lib.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[machine]))
        for rule in whole["syscalls"]:
            _add(lib, context, rule)
        with tempfile.TemporaryFile() as file:
            assert not lib.seccomp_export_bpf(context, file.fileno())
            file.seek(0)
            return file.read()
    finally:
        lib.seccomp_release(context)


def _add(lib: ctypes.CDLL, context: ctypes.c_void_p, rule: dict[str, Any]) -> None:
    action = _ACTIONS[rule["action"]] | rule.get("errnoRet", 0)
    given = rule.get("args", [])
    assert all(one["op"] == "SCMP_CMP_MASKED_EQ" for one in given)
    comparisons = (Comparison * len(given))(
        *(Comparison(one["index"], _MASKED_EQUAL, one["value"], one["valueTwo"]) for one in given)
    )
    for name in rule["names"]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        added = lib.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(given), comparisons)
        assert added in (0, -33), f"{name}: {added}"  # EDOM: a call that this machine does not have
