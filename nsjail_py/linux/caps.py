"""Capabilities: sets as bit masks, and their names. See capabilities(7), capget(2)."""

from __future__ import annotations

import errno

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, ffi, lib
from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Names in lower case without ``CAP_``, with the number of the bit.
NUMBERS = {
    name.removeprefix("CAP_").lower(): number
    for number, name in sorted((getattr(c, name), name) for name in dir(c) if name.startswith("CAP_"))
}


class CapSets(Record):
    """The three sets of a thread, as masks.

    :param effective: what counts in permission checks
    :param permitted: what may be made effective
    :param inheritable: what a program may be given by execve(2)
    """

    effective: int = 0
    permitted: int = 0
    inheritable: int = 0


def mask(names: Iterable[str]) -> int:
    """The mask of capabilities by name, in either case, with or without ``CAP_``.

    :raises ValueError: for a name that is not known

    >>> hex(mask(["CAP_KILL", "sys_admin"]))
    '0x200020'
    """
    result = 0
    for name in names:
        number = NUMBERS.get(name.lower().removeprefix("cap_"))
        if number is None:
            raise ValueError(f"there is no capability {name}")
        result |= 1 << number
    return result


def names(bits: int) -> list[str]:
    """The names in a mask, by number. Bits without a name are given as numbers.

    >>> names(0x200020)
    ['kill', 'sys_admin']
    """
    by_number = {number: name for name, number in NUMBERS.items()}
    return [by_number.get(number, str(number)) for number in range(64) if bits >> number & 1]


def capget(pid: int = 0) -> CapSets:
    """The sets of a thread.

    :param pid: its id; 0: the calling thread
    :raises OSError: ESRCH
    """
    sets = ffi.new("struct nsj_caps *")
    check(lib.nsj_capget(pid, sets), "capget")
    return CapSets(sets.effective, sets.permitted, sets.inheritable)


def capset(sets: CapSets) -> None:
    """Set the calling thread's three sets.

    :raises OSError: EPERM for what is not permitted
    """
    raw = ffi.new("struct nsj_caps *", [sets.effective, sets.permitted, sets.inheritable])
    check(lib.nsj_capset(raw), "capset")


def last() -> int:
    """The number of the last capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())


def bounding() -> int:
    """The calling thread's bounding set: what no program that it executes can gain."""
    return _read(lambda number: lib.nsj_prctl(c.PR_CAPBSET_READ, number, 0, 0, 0))


def drop_bounding(dropped: int) -> None:
    """Remove a mask from the calling thread's bounding set, for good.

    :raises OSError: EPERM without CAP_SETPCAP
    """
    for number in range(64):
        if dropped >> number & 1:
            check(lib.nsj_prctl(c.PR_CAPBSET_DROP, number, 0, 0, 0), "prctl(PR_CAPBSET_DROP)")


def ambient() -> int:
    """The calling thread's ambient set: what an ordinary program that it executes keeps."""
    return _read(lambda number: lib.nsj_prctl(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_IS_SET, number, 0, 0))


def set_ambient(wanted: int) -> None:
    """Make the calling thread's ambient set just this mask.

    :raises OSError: EPERM for what is not both permitted and inheritable
    """
    check(lib.nsj_prctl(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")
    for number in range(64):
        if wanted >> number & 1:
            code = lib.nsj_prctl(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_RAISE, number, 0, 0)
            check(code, "prctl(PR_CAP_AMBIENT_RAISE)")


def _read(ask: Callable[[int], int]) -> int:
    """A mask from a call that answers for one capability, and EINVAL after the kernel's last."""
    result = 0
    for number in range(64):
        answer = ask(number)
        if answer == -errno.EINVAL:
            break
        result |= check(answer, "prctl") << number
    return result
