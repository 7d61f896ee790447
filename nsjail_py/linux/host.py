"""What this kernel and this user can do: facts, found out on first use, without judging what to do about them.

A :class:`Host` can be recorded and replayed, so that plans for a machine can be made and tested on another.
"""

from __future__ import annotations

import errno
import os

from nsjail_py.linux import caps, landlock, namespaces
from nsjail_py.linux import constants as c
from nsjail_py.linux.call import ffi, lib
from nsjail_py.linux.hostview import Entry, HostView, read_host_view
from nsjail_py.linux.idmap import IdRange, parse_map
from nsjail_py.linux.mounts import mountinfo
from nsjail_py.linux.procfs import sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from functools import cached_property as fact
    from typing import Any, Self
else:

    class fact:  # noqa: N801
        """A field that is found out on first use and then kept; `functools` is not worth its import for it."""

        def __init__(self, find):
            self.find = find
            self.__doc__ = find.__doc__

        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, host, owner=None):
            if host is None:
                return self
            value = host.__dict__[self.name] = self.find(host)
            return value


#: System calls that may be missing, or be hidden by a filter.
_ASKED = tuple(name.removeprefix("SYS_") for name in dir(c) if name.startswith("SYS_"))
_BAD = 0xFFFFFFFFFFFFFFFF
_EVERY_ID = (IdRange(0, 0, 0xFFFFFFFF),)


class Host:
    """What this kernel and this user can do. Made by :meth:`probe`; frozen; each fact is found out when it is read.

    >>> host = Host.probe()
    >>> Host.from_dict(host.to_dict()) == host
    True
    """

    _probed: tuple[tuple[int, int], Host] | None = None

    @classmethod
    def probe(cls, *, fresh: bool = False) -> Host:
        """The host that this process runs on.

        :param fresh: do not answer from what was found out before
        """
        who = os.getpid(), os.geteuid()  # a forked child may have become somebody else
        if fresh or cls._probed is None or cls._probed[0] != who:
            cls._probed = who, cls()
        return cls._probed[1]

    # ---- the kernel ----

    @fact
    def kernel(self) -> tuple[int, ...]:
        """Its version, as in ``(6, 18)``."""
        major, minor = os.uname().release.split(".")[:2]
        return int(major), int("".join(digit for digit in minor if digit.isdigit()))

    @fact
    def release(self) -> str:
        """Its full release."""
        return os.uname().release

    @fact
    def machine(self) -> str:
        """The architecture, as in ``x86_64``."""
        return os.uname().machine

    @fact
    def syscalls(self) -> frozenset[str]:
        """Which of the calls that set-up needs exist and are not hidden by a filter that answers ENOSYS."""
        return frozenset(name for name in _ASKED if _exists(getattr(c, f"SYS_{name}")))

    @fact
    def landlock_abi(self) -> int:
        """The version of Landlock; 0: none."""
        return landlock.abi()

    @fact
    def seccomp_actions(self) -> frozenset[str]:
        """What a filter may answer, as in ``errno``, ``kill_process``; empty: no seccomp."""
        return frozenset((sysctl("kernel/seccomp/actions_avail") or "").split())

    @fact
    def filesystems(self) -> frozenset[str]:
        """The types of file system that the kernel has loaded; others may be modules."""
        with open("/proc/filesystems", encoding="ascii") as file:
            return frozenset(line.split()[-1] for line in file)

    @fact
    def memfd_noexec(self) -> int:
        """``vm.memfd_noexec``; 2: executable memory files are forbidden."""
        return int(sysctl("vm/memfd_noexec") or 0)

    @fact
    def cgroups(self) -> str:
        """How control groups are mounted: ``v2``, ``v1``, ``hybrid`` (both) or ``none``."""
        kinds = {mount.kind for mount in mountinfo() if mount.kind.startswith("cgroup")}
        return {2: "hybrid", 0: "none"}.get(len(kinds), "v2" if "cgroup2" in kinds else "v1")

    # ---- the user ----

    @fact
    def uid(self) -> int:
        """The effective user id."""
        return os.geteuid()

    @fact
    def gid(self) -> int:
        """The effective group id."""
        return os.getegid()

    @fact
    def groups(self) -> tuple[int, ...]:
        """The supplementary groups."""
        return tuple(os.getgroups())

    @fact
    def capabilities(self) -> int:
        """The mask of effective capabilities of the calling thread."""
        return caps.capget().effective

    @property
    def privileged(self) -> bool:
        """Whether it may mount and make namespaces without a user namespace of its own."""
        return bool(self.capabilities >> c.CAP_SYS_ADMIN & 1)

    @fact
    def uid_map(self) -> tuple[IdRange, ...]:
        """The uids that exist in the caller's own user namespace, and what they are in its parent."""
        return _own_map("uid_map")

    @fact
    def gid_map(self) -> tuple[IdRange, ...]:
        """The same for gids."""
        return _own_map("gid_map")

    @property
    def initial_user_namespace(self) -> bool:
        """Whether the caller is in the user namespace that the machine was started with."""
        return self.uid_map == _EVERY_ID

    @fact
    def subuids(self) -> tuple[tuple[int, int], ...]:
        """First id and count of each range that ``/etc/subuid`` gives to the user."""
        return _subordinate("/etc/subuid", self.uid)

    @fact
    def subgids(self) -> tuple[tuple[int, int], ...]:
        """The same from ``/etc/subgid``."""
        return _subordinate("/etc/subgid", self.uid)

    @fact
    def newuidmap(self) -> bool:
        """Whether the helpers newuidmap and newgidmap are installed."""
        path = os.environ.get("PATH", os.defpath).split(os.pathsep)
        return all(any(os.access(f"{d}/{name}", os.X_OK) for d in path) for name in ("newuidmap", "newgidmap"))

    # ---- namespaces ----

    @fact
    def namespace_limits(self) -> dict[str, int]:
        """How many namespaces of each kind that the kernel has the user may own (``user.max_*_namespaces``)."""
        found = ((kind, sysctl(f"user/max_{kind}_namespaces")) for kind in namespaces.KINDS)
        return {kind: int(limit) for kind, limit in found if limit is not None}

    @fact
    def user_namespace_error(self) -> int:
        """The errno of an attempt to make a user namespace; 0: it works."""
        fd = lib.nsj_mapping_namespace(ffi.NULL, 0, ffi.new("int *"))
        if fd < 0:
            return int(-fd)
        os.close(fd)
        return 0

    @fact
    def userns_confined(self) -> bool:
        """Whether AppArmor takes all capabilities away in the user namespaces of an unprivileged caller."""
        if self.privileged or sysctl("kernel/apparmor_restrict_unprivileged_userns") != "1":
            return False
        try:
            with open("/proc/thread-self/attr/current", "rb") as file:
                return file.read().startswith(b"unconfined")
        except OSError:
            return True

    @fact
    def userns_sysctl(self) -> str | None:
        """``kernel.unprivileged_userns_clone`` where the distribution has it; ``0`` forbids user namespaces."""
        return sysctl("kernel/unprivileged_userns_clone")

    @fact
    def chrooted(self) -> bool:
        """Whether the caller's root is not that of its mount namespace; the kernel then refuses user namespaces."""
        return all(mount.target != "/" for mount in mountinfo())

    @fact
    def container(self) -> str | None:
        """The kind of container that the caller seems to run in: ``docker``, ``podman``, or what pid 1 was told."""
        for marker, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
            if os.path.exists(marker):
                return name
        try:
            with open("/proc/1/environ", "rb") as file:
                told = [entry[10:] for entry in file.read().split(b"\0") if entry.startswith(b"container=")]
        except OSError:
            return None
        return os.fsdecode(told[0]) if told else None

    @property
    def namespaces(self) -> frozenset[str]:
        """The kinds of namespace that the caller can make: with its own rights, or inside a user namespace."""
        existing = {kind for kind, limit in self.namespace_limits.items() if limit > 0}
        user = self.user_namespace_error == 0 and not self.userns_confined
        if user:
            return frozenset(existing)
        return frozenset(existing - {"user"}) if self.privileged else frozenset()

    def namespace_remedy(self, kind: str) -> str:
        """What would make a kind of namespace possible that is not in :attr:`namespaces`."""
        if kind not in self.namespace_limits:
            return f"use a kernel that is built with {kind} namespaces"
        if self.namespace_limits[kind] == 0:
            return f"sysctl user.max_{kind}_namespaces=10000"
        if self.userns_confined:
            off = "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            return f"give the program an AppArmor profile with `userns,`, or {off}"
        if self.userns_sysctl == "0" and not self.privileged:
            return "sysctl kernel.unprivileged_userns_clone=1"
        if self.chrooted:
            return "enter the root with pivot_root instead of chroot: the kernel allows no user namespace in a chroot"
        if self.namespace_limits.get("user") == 0:
            return "sysctl user.max_user_namespaces=10000"
        if self.container is not None:
            return f"let the seccomp profile of the {self.container} container allow clone3, unshare and mount"
        return "run it as root, or allow user namespaces to ordinary users"

    # ---- the files ----

    @fact
    def view(self) -> HostView:
        """What its root shows of programs, libraries and settings."""
        return read_host_view("/")

    # ---- records ----

    def to_dict(self) -> dict[str, Any]:
        """Every fact, as JSON can hold it."""
        return {name: _plain(getattr(self, name)) for name in sorted(_FACTS)}

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> Self:
        """A host from what :meth:`to_dict` gave, perhaps on another machine.

        :raises ValueError: where a fact is missing or unknown: it would be asked of this machine
        """
        if recorded.keys() != _FACTS:
            raise ValueError(f"missing or unknown facts: {', '.join(sorted(recorded.keys() ^ _FACTS))}")
        host = cls()
        for name, value in recorded.items():
            restore = _RESTORE.get(name)
            host.__dict__[name] = restore(value) if restore else value
        return host

    def replace(self, **facts: Any) -> Self:
        """The same host but for some facts."""
        return self.from_dict(self.to_dict() | {name: _plain(value) for name, value in facts.items()})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a host is frozen: use replace()")

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Host) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.release, self.uid, self.capabilities))

    def __repr__(self) -> str:
        return f"<Host {self.release} {self.machine}, uid {self.uid}{', privileged' if self.privileged else ''}>"


def _exists(number: int) -> bool:
    """Whether a system call exists: with arguments that no call accepts it answers anything but ENOSYS."""
    return bool(lib.nsj_syscall(number, _BAD, _BAD, _BAD, _BAD, _BAD, _BAD) != -errno.ENOSYS)


def _own_map(name: str) -> tuple[IdRange, ...]:
    with open(f"/proc/thread-self/{name}", encoding="ascii") as file:
        return parse_map(file.read())


def _subordinate(path: str, uid: int) -> tuple[tuple[int, int], ...]:
    """The ranges of subuid(5) for a user, who may be named by number or by name."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            entries = [line.strip().split(":") for line in file if line.count(":") == 2]
    except OSError:
        return ()
    if not entries:
        return ()
    who = {str(uid), _user_name(uid)}
    return tuple([(int(first), int(count)) for name, first, count in entries if name in who])


def _user_name(uid: int) -> str | None:
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, IdRange):
        return [value.inside, value.outside, value.count]
    if isinstance(value, HostView):
        return [[[e.path, e.link, e.directory] for e in entries] for entries in (value.programs, value.settings)]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _ranges(value: list[list[int]]) -> tuple[IdRange, ...]:
    return tuple([IdRange(*item) for item in value])


def _pairs(value: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple([(first, count) for first, count in value])


def _view(value: list[list[tuple[str, str | None, bool]]]) -> HostView:
    programs, settings = (tuple([Entry(*entry) for entry in entries]) for entries in value)
    return HostView(programs, settings)


_FACTS = frozenset(name for name, value in vars(Host).items() if isinstance(value, fact))

#: What makes the value of a fact from plain data, where that is not the data itself.
_RESTORE: dict[str, Callable[[Any], Any]] = {
    "kernel": tuple,
    "groups": tuple,
    "syscalls": frozenset,
    "seccomp_actions": frozenset,
    "filesystems": frozenset,
    "uid_map": _ranges,
    "gid_map": _ranges,
    "subuids": _pairs,
    "subgids": _pairs,
    "view": _view,
}
