"""An encoder of plans that knows the contract only from the text of contract.h.

It shares nothing with the project's own encoder: a mistake in one shows against the other, and an opcode that is
added to the contract is found by every test that goes over all of them.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

CONTRACT = (Path(__file__).resolve().parents[2] / "cffi_build" / "csrc" / "contract.h").read_text()

#: name -> (number, kind letters), from the X(...) table
OPCODES: dict[str, tuple[int, str]] = {
    name: (int(number), kinds) for name, number, kinds in re.findall(r'X\((\w+), (\d+), "([^"]*)"\)', CONTRACT)
}

_NAMES = {
    name: int(value, 0)
    for pattern in (r"#define (NSJ_\w+) (0x[0-9a-f]+|\d+)u?", r"^\s+(NSJ_\w+) = (\d+),")
    for name, value in re.findall(pattern, CONTRACT, re.MULTILINE)
}

HEADER = struct.Struct("=IHHIIIHHII")
STEP = struct.Struct("=HHI7Q")
REPORT = struct.Struct("=HHiQ5Q")
CONTROL = struct.Struct("=HHHHII")


def const(name: str) -> int:
    """The value of ``NSJ_<name>``, a macro or an enumerator of the contract."""
    return _NAMES[f"NSJ_{name}"]


@dataclass(frozen=True)
class Slot:
    """An argument that reads a slot."""

    number: int


@dataclass(frozen=True)
class Out:
    """An argument that fills a slot."""

    number: int


Argument = int | str | bytes | list[str] | Slot | Out | None


@dataclass
class Pool:
    """The pool of a blob while it grows."""

    data: bytearray = field(default_factory=bytearray)

    def _align(self) -> int:
        self.data += bytes(-len(self.data) % 8)
        return len(self.data)

    def text(self, text: str) -> int:
        offset = len(self.data)
        self.data += os.fsencode(text) + b"\0"
        return offset

    def bytes(self, value: bytes) -> int:
        offset = self._align()
        self.data += struct.pack("=Q", len(value)) + value
        return offset

    def strings(self, values: Sequence[str]) -> int:
        offsets = [self.text(value) for value in values]
        offset = self._align()
        self.data += struct.pack(f"={len(values) + 2}Q", len(values), *offsets, 0)
        return offset


def _encode(value: Argument, pool: Pool) -> tuple[int, int]:
    """The kind and the value of one argument."""
    match value:
        case None:
            return const("NONE"), 0
        case int():
            return const("INT"), value & (1 << 64) - 1
        case str():
            return const("STR"), pool.text(value)
        case bytes():
            return const("DATA"), pool.bytes(value)
        case list():
            return const("STRINGS"), pool.strings(value)
        case Slot(number):
            return const("SLOT"), number
        case Out(number):
            return const("OUT"), number


@dataclass(frozen=True)
class Step:
    """One step: the name of its opcode, its arguments, its flags."""

    op: str
    args: tuple[Argument, ...]
    flags: int = 0

    def encode(self, pool: Pool) -> bytes:
        kinds, raw = 0, [0] * const("ARGS")
        for index, value in enumerate(self.args):
            kind, raw[index] = _encode(value, pool)
            kinds |= kind << 4 * index
        return STEP.pack(OPCODES[self.op][0], self.flags, kinds, *raw)


def step(op: str, *args: Argument, optional: bool = False) -> Step:
    """A step; ``optional`` sets NSJ_TRY."""
    return Step(op, args, const("TRY") if optional else 0)


def encode(steps: Sequence[Step], *, flags: int = 0, nslots: int = 64, nbirth: int = 6) -> bytes:
    """The blob of a plan; for a suffix pass ``nbirth=0``."""
    pool = Pool()
    records = b"".join(item.encode(pool) for item in steps)
    start = HEADER.size + len(records)
    length = start + len(pool.data)
    head = HEADER.pack(
        const("MAGIC"), const("VERSION"), flags, length, len(steps), start, nslots, nbirth, 0, 0
    )  # fmt: skip
    return head + records + bytes(pool.data)


def sealed(blob: bytes, *, seals: int = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW) -> int:
    """A memfd that holds the blob and can no longer be changed; the caller closes it."""
    fd = os.memfd_create("plan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, blob)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
