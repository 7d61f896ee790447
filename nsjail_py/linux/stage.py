"""The contract with the stage, read from C (`cffi_build/csrc/contract.h`): opcodes, reports, control messages."""

from __future__ import annotations

from nsjail_py.linux.call import ffi, lib
from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Opcode(Record):
    """One operation that the stage knows.

    :param name: as in ``MOUNT``
    :param number: its number
    :param kinds: one letter an argument: i integer, s string, d data, v strings, f slot, o slot that is filled;
        in upper case the argument may be absent; ``*``: any
    """

    name: str
    number: int
    kinds: str


def opcodes() -> Iterator[Opcode]:
    """Every opcode, in the order of the table in C.

    >>> next(opcode for opcode in opcodes() if opcode.name == "MOUNT").kinds
    'SsSiS'
    """
    index = 0
    while entry := lib.nsj_opcode_at(index):
        yield Opcode(ffi.string(entry.name).decode(), entry.number, ffi.string(entry.kinds).decode())
        index += 1


class Report:
    """One message of the stage, or of init.

    :param kind: ``NSJ_REPORT_*``
    :param step: index into the plan; steps of a suffix count on from the plan's last
    :param error: the errno of a step that failed
    :param ns: CLOCK_MONOTONIC, in nanoseconds
    :param value: what else belongs to the kind
    """

    __slots__ = ("error", "kind", "ns", "step", "value")

    def __init__(self, kind: int, step: int, error: int, ns: int, value: tuple[int, ...]) -> None:
        self.kind = kind
        self.step = step
        self.error = error
        self.ns = ns
        self.value = value

    def __repr__(self) -> str:
        return f"Report(kind={self.kind}, step={self.step}, error={self.error}, ns={self.ns}, value={self.value})"


#: The length of a report, in bytes.
REPORT_SIZE: int = ffi.sizeof("struct nsj_report")


def parse_report(data: bytes) -> Report:
    """Read a message from the report socket.

    :raises ValueError: where it is not as long as a report
    """
    if len(data) != REPORT_SIZE:
        raise ValueError(f"a report has {REPORT_SIZE} bytes, this one {len(data)}")
    raw = ffi.from_buffer("struct nsj_report *", data)
    return Report(raw.kind, raw.step, raw.error, raw.ns, tuple(raw.value))


def control(kind: int, *, value: int = 0, slot: int = 0, count: int = 0, suffix: bool = False) -> bytes:
    """A message to the stage, or to init.

    :param kind: ``NSJ_CONTROL_*``
    :param value: the gate to release, or the signal to send
    :param slot: RELEASE: the first slot that the descriptors sent with the message go to
    :param count: RELEASE: how many there are, without the suffix
    :param suffix: RELEASE: the last descriptor is a sealed memfd with further steps
    """
    raw = ffi.new(
        "struct nsj_control *", {"kind": kind, "value": value, "slot": slot, "count": count, "suffix": suffix}
    )
    return bytes(ffi.buffer(raw))
