"""A plan into the blob that the stage reads (``cffi_build/csrc/contract.h``).

Encoding eighty steps in Python costs as much as a third of a launch, so an ``Encoding`` keeps the records of all
steps and encodes anew only those that a call changes: the payload's.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence

from nsjail_py.errors import PlanError
from nsjail_py.linux import constants as c
from nsjail_py.plan.part import Argument, Data, Descriptors, Fill, Slot, Step
from nsjail_py.plan.plan import Plan

_HEADER = struct.Struct("=IHHIIIHH8x")
_STEP = struct.Struct("=HHI7Q")
_U64 = 0xFFFFFFFFFFFFFFFF


class Encoding:
    """The encoded form of one plan.

    :param plan: what to encode
    """

    __slots__ = ("_nslots", "_plan", "_pool", "_records")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._nslots = len(plan.slots)
        # offset 0 holds an empty string, so that no real offset is zero
        self._pool = bytearray(8)
        self._records = [self._record(step, self._pool) for step in plan.steps]

    def blob(self, changed: Mapping[int, Step] = {}, *, trace: bool = False, owned: bool = True) -> bytes:
        """The blob for one launch.

        :param changed: steps by index that take the place of the plan's own
        :param trace: report every step
        :param owned: the sandbox dies with its owner
        """
        records, pool = self._records, self._pool
        if changed:
            records, pool = records.copy(), pool.copy()
            for index, step in changed.items():
                records[index] = self._record(step, pool)
        start = _HEADER.size + len(records) * _STEP.size
        flags = (c.NSJ_TRACE if trace else 0) | (c.NSJ_OWNED if owned else 0)
        header = _HEADER.pack(
            c.NSJ_MAGIC,
            c.NSJ_VERSION,
            flags,
            start + len(pool),
            len(records),
            start,
            self._nslots,
            self._plan.birth,
        )
        return b"".join((header, *records, pool))

    def _record(self, step: Step, pool: bytearray) -> bytes:
        kinds = 0
        values = [0] * c.NSJ_ARGS
        for index, argument in enumerate(step.args):
            kind, values[index] = self._argument(argument, pool)
            kinds |= kind << (4 * index)
        return _STEP.pack(step.op, c.NSJ_TRY if step.optional else 0, kinds, *values)

    def _argument(self, argument: Argument, pool: bytearray) -> tuple[int, int]:
        match argument:
            case None:
                return c.NSJ_NONE, 0
            case int():
                return c.NSJ_INT, argument & _U64
            case str() | bytes():
                return c.NSJ_STR, _string(argument, pool)
            case Slot(name):
                return c.NSJ_SLOT, self._plan.slots[name]
            case Fill(Slot(name)):
                return c.NSJ_OUT, self._plan.slots[name]
            case Data(value):
                return c.NSJ_DATA, _data(value, pool)
            case Descriptors(numbers):
                table = b"".join(struct.pack("=ii", self._plan.slots[slot.name], number) for number, slot in numbers)
                return c.NSJ_DATA, _data(table, pool)
            case tuple():
                return c.NSJ_STRINGS, _strings(argument, pool)


def _string(text: str | bytes, pool: bytearray) -> int:
    value = os.fsencode(text) if isinstance(text, str) else text
    if b"\0" in value:
        raise PlanError(f"a string with a NUL byte: {value!r}")
    offset = len(pool)
    pool += value
    pool.append(0)
    return offset


def _strings(texts: Sequence[str | bytes], pool: bytearray) -> int:
    values = [os.fsencode(text) for text in texts]
    joined = b"\0".join(values)
    if joined.count(b"\0") > max(0, len(values) - 1):
        raise PlanError(f"a string with a NUL byte: {next(each for each in values if 0 in each)!r}")
    start = len(pool)
    offsets = [start]
    for value in values:
        start += len(value) + 1
        offsets.append(start)
    pool += joined
    pool.append(0)
    offsets[-1] = 0
    _align(pool)
    offset = len(pool)
    pool += struct.pack(f"={len(values) + 2}Q", len(values), *offsets)
    return offset


def _data(value: bytes, pool: bytearray) -> int:
    _align(pool)
    offset = len(pool)
    pool += struct.pack("=Q", len(value))
    pool += value
    return offset


def _align(pool: bytearray) -> None:
    pool += bytes(-len(pool) % 8)
