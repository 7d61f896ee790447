"""Resource limits and their names. See getrlimit(2), prlimit(2)."""

from __future__ import annotations

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, ffi, lib

#: Names in lower case without ``RLIMIT_``, with the kernel's number.
NUMBERS = {
    name.removeprefix("RLIMIT_").lower(): getattr(c, name) for name in sorted(dir(c)) if name.startswith("RLIMIT_")
}

#: No limit.
INFINITY = c.RLIM_INFINITY


def prlimit(resource: int, limits: tuple[int, int] | None = None, *, pid: int = 0) -> tuple[int, int]:
    """Read or change a limit.

    :param resource: ``RLIMIT_*``
    :param limits: the new soft and hard limit; ``None``: only read
    :param pid: a process; 0: the calling one
    :returns: the soft and hard limit before
    :raises OSError: EPERM for a hard limit raised without CAP_SYS_RESOURCE, EINVAL for a soft one above the hard

    >>> soft, hard = prlimit(NUMBERS["nofile"])
    >>> soft <= hard
    True
    """
    previous = ffi.new("uint64_t[2]")
    replacement = ffi.NULL if limits is None else ffi.new("uint64_t[2]", limits)
    check(lib.nsj_prlimit(pid, resource, replacement, previous), "prlimit")
    return previous[0], previous[1]
