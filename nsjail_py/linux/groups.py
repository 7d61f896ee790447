"""Which control groups a process is in, and where their directories are. See cgroups(7), proc_pid_cgroup(5)."""

from __future__ import annotations

import errno
import os

from nsjail_py.linux.mounts import mountinfo
from nsjail_py.record import Record


class Membership(Record):
    """A process's group in one hierarchy.

    :param name: the controllers or the name of a v1 hierarchy, as in ``cpu,cpuacct`` or ``name=systemd``; empty for v2
    :param path: the group, as seen from the root of the reader's cgroup namespace
    """

    name: str
    path: str

    @property
    def unified(self) -> bool:
        """Whether the hierarchy is cgroup v2."""
        return not self.name

    def directory(self) -> str:
        """The group's directory, wherever the hierarchy is mounted.

        :raises OSError: ENOENT where it is not mounted, or the group lies outside of what is
        """
        for mount in mountinfo():
            kind = "cgroup2" if self.unified else "cgroup"
            options = set(mount.super_options)
            if mount.kind != kind or not (self.unified or options.issuperset(self.name.split(","))):
                continue
            root = mount.root.rstrip("/")
            if self.path == root or self.path.startswith(f"{root}/"):
                return mount.target + self.path.removeprefix(root)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"cgroup hierarchy {self.name or 'v2'}")


def memberships(pid: int) -> tuple[Membership, ...]:
    """The groups of a process, one in each hierarchy.

    :raises OSError: ENOENT where there is no such process

    >>> import os
    >>> all(group.path.startswith("/") for group in memberships(os.getpid()))
    True
    """
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        lines = os.fsdecode(file.read()).splitlines()
    return tuple([Membership(*line.split(":", 2)[1:]) for line in lines])
