"""The wrappers of ``nsjail_py.linux`` against the same system calls by ctypes.

Both sides do what a caller needs: arguments by name, a failure as an OSError. Each sample is a thousand calls, so that
milliseconds read as microseconds a call.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

from benchmarks.measure import Bar, Case, Report, Table, interleave
from nsjail_py.linux import caps, files, mounts, process, rlimits
from nsjail_py.linux import constants as c

CALLS = 1000
WRAPPER, CTYPES = "nsjail_py.linux", "ctypes"

Call = Callable[[], object]

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _openat2(path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return _check(_libc.syscall(c.SYS_openat2, c.AT_FDCWD, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)))


def _open_tree(path: str) -> int:
    return _check(_libc.syscall(c.SYS_open_tree, c.AT_FDCWD, os.fsencode(path), c.OPEN_TREE_CLOEXEC))


def _capget() -> tuple[int, int, int]:
    header, data = _CapHeader(0x20080522, 0), (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(header), data))
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def _prlimit(resource: int) -> tuple[int, int]:
    previous = (ctypes.c_uint64 * 2)()
    _check(_libc.prlimit64(0, resource, None, previous))
    return previous[0], previous[1]


def _sealed_memfd(name: str, data: bytes) -> int:
    flags = c.MFD_CLOEXEC | c.MFD_ALLOW_SEALING | c.MFD_NOEXEC_SEAL
    fd = _check(_libc.memfd_create(os.fsencode(name), flags))
    _check(_libc.write(fd, data, len(data)))
    _check(_libc.fcntl(fd, c.F_ADD_SEALS, c.F_SEAL_SEAL | c.F_SEAL_SHRINK | c.F_SEAL_GROW | c.F_SEAL_WRITE))
    return fd


def _calls(pidfd: int) -> list[tuple[str, Call, Call]]:
    """Each call as ``(name, by the wrapper, by ctypes)``."""
    plan = bytes(4096)
    return [
        (
            "pidfd_send_signal",
            lambda: process.pidfd_send_signal(pidfd, 0),
            lambda: _check(_libc.syscall(c.SYS_pidfd_send_signal, pidfd, 0, None, 0)),
        ),
        (
            "openat2, close",
            lambda: os.close(files.openat2("/proc", c.O_PATH, resolve=c.RESOLVE_NO_SYMLINKS)),
            lambda: os.close(_openat2("/proc", c.O_PATH, c.RESOLVE_NO_SYMLINKS)),
        ),
        ("open_tree, close", lambda: os.close(mounts.open_tree("/proc")), lambda: os.close(_open_tree("/proc"))),
        ("capget", caps.capget, _capget),
        ("prlimit", lambda: rlimits.prlimit(c.RLIMIT_NOFILE), lambda: _prlimit(c.RLIMIT_NOFILE)),
        (
            "a sealed memfd of 4 KiB, close",
            lambda: os.close(files.sealed_memfd("plan", plan)),
            lambda: os.close(_sealed_memfd("plan", plan)),
        ),
    ]


def _case(name: str, call: Call) -> Case:
    def once() -> float:
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        return (time.perf_counter_ns() - began) / 1e6

    return Case(name, lambda runs: [once() for _ in range(runs)])


def run(runs: int) -> Report:
    """Measure each call both ways, in turns.

    :param runs: how many samples of a thousand calls are taken of each
    :returns: one table a call
    """
    report = Report("syscalls")
    pidfd = process.pidfd_open(os.getpid())
    try:
        for name, wrapped, by_ctypes in _calls(pidfd):
            rows = interleave([_case(WRAPPER, wrapped), _case(CTYPES, by_ctypes)], runs)
            table = Table(f"{CALLS} times {name}", rows, CTYPES)
            report.tables.append(table)
            report.bars.append(Bar(f"{name}: as fast as by ctypes", table.ratio(WRAPPER, CTYPES), 1.1))
    finally:
        os.close(pidfd)
    return report
