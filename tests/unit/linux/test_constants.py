"""Constants and the contract come from C, whole."""

from __future__ import annotations

import os
import re
import runpy
import socket
from pathlib import Path

import pytest

from nsjail_py.linux import call, stage
from nsjail_py.linux import constants as c

SOURCES = Path(__file__).resolve().parents[3]
CONTRACT = (SOURCES / "cffi_build/csrc/contract.h").read_text()


def test_type_checkers_know_just_the_names_that_there_are() -> None:
    builder = runpy.run_path(str(SOURCES / "cffi_build/build_native.py"))
    stub = (SOURCES / "nsjail_py/linux/constants.pyi").read_text()
    assert stub == builder["stub"](builder["definitions"]()), "run: python cffi_build/build_native.py > the stub"
    assert set(re.findall(r"^(\w+): Final", stub, re.M)) == set(dir(c)), "build the extension again"


def test_each_has_a_value() -> None:
    """A number in native.cdef that the headers contradict is an error when it is read."""
    assert [name for name in dir(c) if not isinstance(getattr(c, name), int)] == []


def test_they_agree_with_the_standard_library() -> None:
    ours = [name for name in dir(c) if name.startswith("O_") and hasattr(os, name)]
    assert len(ours) > 10
    assert [getattr(c, name) for name in ours] == [getattr(os, name) for name in ours]
    assert (c.AF_UNIX, c.SOCK_SEQPACKET) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
    assert (c.WNOHANG, c.WEXITED, c.CLD_KILLED) == (os.WNOHANG, os.WEXITED, os.CLD_KILLED)


@pytest.mark.parametrize("name", ["NO_SUCH_CONSTANT", "nsj_spawn", "nsj_setns", "__path__"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(c, name)


def test_opcodes_are_those_of_the_contract() -> None:
    written = re.findall(r'^ +X\((\w+), (\d+), "([^"]*)"\)', CONTRACT, re.M)
    assert [(opcode.name, str(opcode.number), opcode.kinds) for opcode in stage.opcodes()] == written
    assert {name for name in dir(c) if name.startswith("NSJ_OP_")} == {f"NSJ_OP_{name}" for name, _, _ in written}
    assert len({number for _, number, _ in written}) == len(written)
    assert set("".join(kinds for _, _, kinds in written)) <= set("*iIsSdDvVfFoO")


def test_reports() -> None:
    raw = call.ffi.new(
        "struct nsj_report *", {"kind": 6, "step": 300, "error": 13, "ns": 2**63, "value": [1, 2, 3, 4, 2**64 - 1]}
    )
    data = bytes(call.ffi.buffer(raw))
    assert repr(stage.parse_report(data)) == (
        f"Report(kind=6, step=300, error=13, ns={2**63}, value=(1, 2, 3, 4, {2**64 - 1}))"
    )
    with pytest.raises(ValueError, match=f"a report has {stage.REPORT_SIZE} bytes, this one 3"):
        stage.parse_report(b"abc")


def test_control_messages() -> None:
    data = stage.control(c.NSJ_CONTROL_RELEASE, value=3, slot=9, count=2, suffix=True)
    raw = call.ffi.from_buffer("struct nsj_control *", data)
    assert (raw.kind, raw.value, raw.slot, raw.count, raw.suffix) == (c.NSJ_CONTROL_RELEASE, 3, 9, 2, 1)


def test_failures_are_the_fitting_exceptions() -> None:
    assert call.check(3, "call") == 3
    with pytest.raises(PermissionError, match=r"\[Errno 1\] mount: Operation not permitted: b'/x'"):
        call.check(-1, "mount", b"/x")
