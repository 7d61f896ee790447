"""What a test may leave behind in this process and on this machine: nothing."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
RECORDS = Path("/run/nsjail-py")
PR_SET_CHILD_SUBREAPER = 36

#: Seconds that the kernel is given to finish what it does on its own: the end of a killed process, and with it the
#: removal of its mounts and of its group.
PATIENCE = 10.0


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants, so that one left behind is seen (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _descriptors() -> Iterator[str]:
    # one user namespace for each id map of a mount is kept for good: it takes milliseconds to make
    idmap = sys.modules.get("nsjail_py.linux.idmap")
    kept = set(idmap._made.values()) if idmap else set()
    # and the lock on one id range for the next sandbox, whichever number it has by now
    locks = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one that listed the directory
        if target.endswith("/nsjail-py/ids"):
            locks += 1
            yield f"lock {locks} on an id range"
        elif int(name) not in kept:
            yield f"descriptor {name} -> {target}"


def _processes() -> Iterator[str]:
    for process in psutil.Process().children(recursive=True):
        try:
            yield f"process {process.pid} {process.name()}"
        except psutil.NoSuchProcess:
            continue


def _mounts() -> Iterator[str]:
    yield from (f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _groups() -> Iterator[str]:
    for directory, names, _ in os.walk(CGROUPS):
        yield from (f"control group {directory}/{name}" for name in names)


def _links() -> Iterator[str]:
    yield from (f"network link {name}" for _, name in socket.if_nameindex())


def _records() -> Iterator[str]:
    """Records of this process's sandboxes; those of other processes lie there too."""
    for path in RECORDS.glob("*.json"):
        try:
            if json.loads(path.read_text())["owner"] == os.getpid():
                yield f"record {path}"
        except (FileNotFoundError, PermissionError):
            continue


def _files(directories: tuple[Path, ...]) -> Iterator[str]:
    for directory in directories:
        yield from (f"file {path}" for path in directory.rglob("*"))


class Snapshot:
    """All that there is at one moment, to be compared with a later one.

    :param directories: where nothing may be added; they belong to this test process alone
    """

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._before = self._present()

    def _present(self) -> set[str]:
        things = (_descriptors(), _processes(), _mounts(), _groups(), _links(), _records(), _files(self._directories))
        return {thing for each in things for thing in each}

    def left_behind(self, *, seconds: float = PATIENCE) -> set[str]:
        """What there is now and was not then, once the kernel has had its time."""
        left: set[str] = set()

        def nothing() -> bool:
            nonlocal left
            left = self._present() - self._before
            return not left

        eventually(nothing, seconds=seconds)
        return left


def eventually(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
    """Whether a condition becomes true in time, for what the kernel does on its own and tells nobody about."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Orphans:
    """The processes that this one adopted: a test that kills a caller finds there what the caller started."""

    def __init__(self) -> None:
        self._own = {process.pid for process in psutil.Process().children()}

    def alive(self) -> list[psutil.Process]:
        """Those that have not ended, with all their descendants; those that have are waited for."""
        left = []
        for process in psutil.Process().children():
            if process.pid not in self._own and os.waitpid(process.pid, os.WNOHANG) == (0, 0):
                left += [process, *process.children(recursive=True)]
        return left

    def mine(self, pid: int) -> None:
        """Leave a process to the test, which started it itself."""
        self._own.add(pid)
