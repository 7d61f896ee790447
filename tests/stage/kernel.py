"""Numbers of the kernel that these tests need and Python does not have."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Collection

from cffi_build.build_stage import compiler

NEWNS, NEWUTS, NEWIPC = 0x20000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000

OPEN_TREE_CLONE, AT_EMPTY_PATH, AT_RECURSIVE = 1, 0x1000, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_IDMAP = 1, 8, 0x100000
MS_BIND, MS_SHARED, MS_PRIVATE = 4096, 1 << 20, 1 << 18
RESOLVE_BENEATH = 8


def _syscall_numbers() -> dict[str, int]:
    """As the compiler has them, for whatever architecture this is."""
    source, command = "#include <asm/unistd.h>", [*compiler(), "-E", "-dM", "-"]
    macros = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", macros)}


#: name -> number of each system call
NR = _syscall_numbers()

_SECCOMP_RET_ALLOW, _SECCOMP_RET_ERRNO, _SECCOMP_RET_USER_NOTIF = 0x7FFF0000, 0x00050000, 0x7FC00000
_SECCOMP_RET_KILL_PROCESS = 0x80000000


def _filter(number: int, action: int) -> bytes:
    """A seccomp program that takes one action for one call, and allows all others."""
    program = [
        (0x20, 0, 0, 0),  # load the number
        (0x15, 0, 1, number),  # equal?
        (0x06, 0, 0, action),
        (0x06, 0, 0, _SECCOMP_RET_ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def refusing(call: str, error: int) -> bytes:
    """A filter under which one call fails."""
    return _filter(NR[call], _SECCOMP_RET_ERRNO | error)


def notifying(call: str) -> bytes:
    """A filter that asks a listener about one call."""
    return _filter(NR[call], _SECCOMP_RET_USER_NOTIF)


def killing(call: str) -> bytes:
    """A filter under which one call kills its process."""
    return _filter(NR[call], _SECCOMP_RET_KILL_PROCESS)


def allowing(calls: Collection[str]) -> bytes:
    """A filter that kills at any other call."""
    program = [(0x20, 0, 0, 0)]
    program += [(0x15, len(calls) - place, 0, NR[call]) for place, call in enumerate(calls)]
    program += [(0x06, 0, 0, _SECCOMP_RET_KILL_PROCESS), (0x06, 0, 0, _SECCOMP_RET_ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
