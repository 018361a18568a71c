"""Write the names of the calls that were looked at: `python -m superagent.runtime.sandbox.containers.call_names`.

Only developers run this, where libseccomp is; a test compares. They are the calls up to `NEWEST` of every machine that
has a filter.
"""

from __future__ import annotations

import ctypes

from superagent.runtime.sandbox.containers.seccomp import CALLS
from superagent.runtime.sandbox.filters.build import library
from superagent.runtime.sandbox.filters.rules import NEWEST

_TOKENS = (0xC000_003E, 0xC000_00B7)  # AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64 of linux/audit.h


def call_names(lib: ctypes.CDLL) -> list[str]:
    """Give the names, in order."""
    lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    found: set[str] = set()
    for token in _TOKENS:
        for number in range(NEWEST + 1):
            name = lib.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(token), number)
            if name:
                found.add(ctypes.string_at(name).decode("ascii"))
    return sorted(found)


def main() -> None:
    """Write the file anew; raises `SystemExit` when the library is missing."""
    lib = library()
    if lib is None:
        raise SystemExit("the names come from libseccomp (apt: libseccomp2)")
    CALLS.write_text("\n".join(call_names(lib)) + "\n", "ascii")


if __name__ == "__main__":
    main()
