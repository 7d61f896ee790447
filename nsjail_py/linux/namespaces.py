"""Namespaces: make, enter, open and tell apart. See namespaces(7), ioctl_nsfs(2)."""

from __future__ import annotations

import errno
import os

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsjail_py.linux.call import StrPath

#: Names as in ``/proc/PID/ns``, with the flag of clone(2), unshare(2) and setns(2).
KINDS = {
    "user": c.CLONE_NEWUSER,
    "mnt": c.CLONE_NEWNS,
    "pid": c.CLONE_NEWPID,
    "net": c.CLONE_NEWNET,
    "ipc": c.CLONE_NEWIPC,
    "uts": c.CLONE_NEWUTS,
    "cgroup": c.CLONE_NEWCGROUP,
    "time": c.CLONE_NEWTIME,
}


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces.

    :param flags: ``CLONE_NEW*``; a new pid or time namespace takes effect for children
    :raises OSError: as in unshare(2); EINVAL for CLONE_NEWUSER in a process with several threads
    """
    check(lib.nsj_unshare(flags), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Move the calling thread into existing namespaces.

    :param fd: a namespace, or a pidfd (then ``flags`` say which of its namespaces)
    :param flags: the ``CLONE_NEW*`` that the descriptor must be; 0 allows any
    :raises OSError: as in setns(2)
    """
    check(lib.nsj_setns(fd, flags), "setns")


def open_namespace(kind: str, *, pid: int | None = None, path: StrPath | None = None) -> int:
    """Open a namespace of a process, or one that is bound to a file.

    :param kind: a key of :data:`KINDS`
    :param pid: a process; neither ``pid`` nor ``path`` means the calling thread
    :param path: a file such as ``/run/netns/NAME``
    :returns: a descriptor
    :raises OSError: EINVAL where the file is not a namespace of that kind

    >>> fd = open_namespace("uts")
    >>> namespace_kind(fd)
    'uts'
    >>> os.close(fd)
    """
    if path is None:
        path = f"/proc/{'thread-self' if pid is None else pid}/ns/{kind}"
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = namespace_kind(fd)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, "not a namespace", os.fspath(path)) from None
    if found != kind:
        os.close(fd)
        raise OSError(errno.EINVAL, f"a namespace of kind {found}, not {kind}", os.fspath(path))
    return fd


def open_namespace_of(pidfd: int, kind: str) -> int:
    """Open a namespace of the process behind a pidfd, without a path that could lead to another (Linux 6.11).

    :raises OSError: ENOTTY where the kernel is older, ESRCH where the process has ended
    """
    request = getattr(c, f"PIDFD_GET_{kind.upper()}_NAMESPACE")
    return check(lib.nsj_ioctl(pidfd, request, ffi.NULL), "ioctl(PIDFD_GET_NAMESPACE)")


def namespace_kind(fd: int) -> str:
    """The kind of an open namespace, a key of :data:`KINDS`.

    :raises OSError: EINVAL where the descriptor is something else
    """
    code = lib.nsj_ioctl(fd, c.NS_GET_NSTYPE, ffi.NULL)
    if code == -errno.ENOTTY:
        code = -errno.EINVAL
    flag = check(code, "ioctl(NS_GET_NSTYPE)")
    return next(kind for kind, value in KINDS.items() if value == flag)


def owning_user_namespace(fd: int) -> int:
    """Open the user namespace that owns a namespace: capabilities in it are what counts there.

    :returns: a descriptor
    :raises OSError: EPERM where the owner is outside the caller's own user namespace
    """
    return check(lib.nsj_ioctl(fd, c.NS_GET_USERNS, ffi.NULL), "ioctl(NS_GET_USERNS)")


def parent_namespace(fd: int) -> int:
    """Open the parent of a pid or user namespace.

    :raises OSError: EPERM where it is outside the caller's own, EINVAL for other kinds
    """
    return check(lib.nsj_ioctl(fd, c.NS_GET_PARENT, ffi.NULL), "ioctl(NS_GET_PARENT)")


def owner_uid(fd: int) -> int:
    """The uid of the creator of a user namespace."""
    uid = ffi.new("uint32_t *")
    check(lib.nsj_ioctl(fd, c.NS_GET_OWNER_UID, uid), "ioctl(NS_GET_OWNER_UID)")
    return int(uid[0])


def same_namespace(first: int, second: int) -> bool:
    """Whether two descriptors are of one namespace."""
    one, other = os.fstat(first), os.fstat(second)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def sethostname(name: str) -> None:
    """Set the host name of the calling thread's uts namespace. See sethostname(2)."""
    raw = os.fsencode(name)
    check(lib.nsj_sethostname(raw, len(raw)), "sethostname")


def setdomainname(name: str) -> None:
    """Set the NIS domain name of the calling thread's uts namespace. See setdomainname(2)."""
    raw = os.fsencode(name)
    check(lib.nsj_setdomainname(raw, len(raw)), "setdomainname")
