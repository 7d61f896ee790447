"""The state of one launch, as far as parent actions may see it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

import msgspec

from nsjail_py.linux.host import Host
from nsjail_py.linux.idmap import IdRange
from nsjail_py.plan.part import Slot


class IdMaps(msgspec.Struct, frozen=True):
    """The id maps of a user namespace.

    :param uids: ranges of ``/proc/PID/uid_map``
    :param gids: ranges of ``/proc/PID/gid_map``
    :param setgroups: whether setgroups(2) stays allowed; an unprivileged writer of a gid map must deny it
    :param helper: written by newuidmap and newgidmap instead of by the parent itself
    """

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]
    setgroups: bool = True
    helper: bool = False


class Launch:
    """What parent actions read and fill.

    :ivar host: what this kernel and user can do
    :ivar undo: callbacks that take everything back, run in reverse when the launch fails or the sandbox has ended
    :ivar maps: the id maps, set by the action that decides them; ``None`` without a new user namespace
    :ivar cgroup: a directory of cgroup v2 that the stage is born in, or -1
    :ivar pid: the stage's pid, from phase CREATED on
    :ivar pidfd: its pidfd
    :ivar warnings: for ``Result.warnings``
    :ivar name: the name on record, where the sandbox is on record: always, where a fact ``sweep`` says that it leaves
        something on the host. What is named after it, ``nsjail_sweep`` finds again
    """

    __slots__ = ("_filled", "_kept", "cgroup", "host", "maps", "name", "pid", "pidfd", "undo", "warnings")

    def __init__(self, host: Host) -> None:
        self.host = host
        self.undo = ExitStack()
        self.maps: IdMaps | None = None
        self.cgroup = -1
        self.pid = -1
        self.pidfd = -1
        self.warnings: list[str] = []
        self.name: str | None = None
        self._filled: dict[str, int] = {}
        self._kept: set[int] = set()

    def fill(self, slot: Slot, fd: int, *, keep: bool = False) -> None:
        """Give the stage a descriptor.

        :param slot: where
        :param fd: the descriptor; it belongs to the launch from now on and is closed when the stage has it
        :param keep: the caller goes on owning it
        """
        if keep:
            self._kept.add(fd)
        self._filled[slot.name] = fd

    def born_in(self, directory: int) -> None:
        """Have the stage born in a control group of v2 (clone3(2), CLONE_INTO_CGROUP).

        :param directory: a descriptor of its directory; it belongs to the launch from now on
        """
        self.cgroup = directory

    def descriptor(self, slot: Slot) -> int:
        """The parent's descriptor for a slot that an action filled. Raises KeyError where none did."""
        return self._filled[slot.name]

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called when the launch fails or the sandbox has ended."""
        self.undo.callback(callback)

    def release(self) -> None:
        """Close every descriptor that the stage has by now."""
        while self._filled:  # taken out first: a signal handler may raise, and no number may be closed twice
            fd = self._filled.popitem()[1]
            if fd not in self._kept:
                os.close(fd)
        fd, self.cgroup = self.cgroup, -1
        if fd >= 0:
            os.close(fd)
