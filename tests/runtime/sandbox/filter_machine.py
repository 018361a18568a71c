"""A machine for classic BPF, to ask a shipped filter anything, also for an architecture that is not here."""

from __future__ import annotations

import struct
from dataclasses import dataclass

X86_64, AARCH64, I386 = 0xC000_003E, 0xC000_00B7, 0x4000_0003
TOKENS = {"x86_64": X86_64, "aarch64": AARCH64}


@dataclass(frozen=True, slots=True)
class Call:
    """What the kernel shows to a filter: `struct seccomp_data`."""

    number: int
    arguments: tuple[int, ...] = ()
    architecture: int = X86_64

    def seen(self) -> bytes:
        arguments = (*self.arguments, *(0,) * (6 - len(self.arguments)))
        return struct.pack("<IIQ6Q", self.number, self.architecture, 0, *arguments)


def judge(program: bytes, call: Call) -> int:
    """Run the program on a call and give its answer; fails on an instruction that seccomp does not know."""
    lines = list(struct.iter_unpack("<HBBI", program))
    seen, value, at = call.seen(), 0, 0
    while True:
        code, yes, no, k = lines[at]
        at += 1
        match code:
            case 0x20:
                value = struct.unpack_from("<I", seen, k)[0]
            case 0x54:
                value &= k
            case 0x05:
                at += k
            case 0x15:
                at += yes if value == k else no
            case 0x25:
                at += yes if value > k else no
            case 0x35:
                at += yes if value >= k else no
            case 0x45:
                at += yes if value & k else no
            case 0x06:
                return k
            case _:
                raise AssertionError(f"line {at - 1}: no such instruction {code:#x}")
