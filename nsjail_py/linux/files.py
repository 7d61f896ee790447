"""Files by descriptor: open beneath a root, close many, memory files that nobody can change.

See openat2(2), close_range(2), memfd_create(2).
"""

from __future__ import annotations

import errno
import os

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, lib
from nsjail_py.linux.mounts import mount_setattr, open_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsjail_py.linux.call import StrPath


def openat2(path: StrPath, flags: int, *, directory: int = c.AT_FDCWD, mode: int = 0, resolve: int = 0) -> int:
    """Open a file, with a say in how its path is resolved.

    :param path: relative to ``directory``
    :param flags: ``O_*``; O_CLOEXEC is added
    :param directory: a descriptor
    :param mode: permissions of a new file
    :param resolve: ``RESOLVE_*``
    :returns: a descriptor
    :raises OSError: as in openat2(2): EXDEV or ELOOP where the path leads where it may not

    >>> os.close(openat2("/proc/self", c.O_PATH))
    >>> openat2("/proc/self", c.O_PATH, resolve=c.RESOLVE_NO_SYMLINKS)
    Traceback (most recent call last):
    OSError: [Errno 40] openat2: Too many levels of symbolic links: '/proc/self'
    """
    return check(lib.nsj_openat2(directory, os.fsencode(path), flags | c.O_CLOEXEC, mode, resolve), "openat2", path)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """Close every descriptor from ``first`` to ``last``, both included.

    :param flags: ``CLOSE_RANGE_CLOEXEC`` marks them close-on-exec instead
    """
    check(lib.nsj_close_range(first, last, flags), "close_range")


def sealed_memfd(name: str, data: bytes, *, executable: bool = False) -> int:
    """A file in memory that can be read, mapped and passed on but never changed.

    :param name: what ``/proc/PID/fd`` shows
    :param data: its contents
    :param executable: it is going to be executed
    :returns: a descriptor
    :raises OSError: EACCES where ``vm.memfd_noexec`` forbids executable ones

    >>> fd = sealed_memfd("plan", b"contents")
    >>> os.write(fd, b"other")
    Traceback (most recent call last):
    PermissionError: [Errno 1] Operation not permitted
    >>> os.close(fd)
    """
    raw = os.fsencode(name)
    # Since 6.3 the kernel wants to be told, and logs a complaint otherwise; before, it knew neither flag.
    flag = c.MFD_EXEC if executable else c.MFD_NOEXEC_SEAL
    code = lib.nsj_sealed_memfd(raw, flag, data, len(data))
    if code == -errno.EINVAL:
        code = lib.nsj_sealed_memfd(raw, 0, data, len(data))
    return check(code, "memfd_create")


def sealed_executable(path: StrPath) -> int:
    """A sealed copy of a program in memory, to be executed by descriptor.

    What runs it cannot write to the file through ``/proc/PID/exe`` (CVE-2019-5736).

    :param path: the program
    :returns: a descriptor
    :raises OSError: EACCES or EPERM where executable memory files are forbidden: see :func:`read_only_clone`
    """
    with open(path, "rb") as file:
        return sealed_memfd(os.path.basename(os.fsdecode(path)), file.read(), executable=True)


def read_only_clone(path: StrPath) -> int:
    """A file on a read-only mount that nobody else sees: it can be executed by descriptor, never written.

    :param path: the file
    :returns: a descriptor
    :raises OSError: EPERM without CAP_SYS_ADMIN
    """
    fd = open_tree(path, c.OPEN_TREE_CLONE)
    try:
        mount_setattr("", directory=fd, flags=c.AT_EMPTY_PATH, attr_set=c.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        raise
    return fd
