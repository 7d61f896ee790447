"""Host id ranges: one of 65536 ids per running sandbox, never two sandboxes on one kernel uid.

A range is taken by a lock on one byte of one file, byte number = number of the range. The kernel drops the lock when
the last holder of the descriptor is gone (F_OFD_SETLK, fcntl(2)), so nothing is left to sweep after a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator

from nsjail_py.plugin import state_directory

WIDTH = 65536
# above what systemd-nspawn and useradd hand out, below the ids that some programs take for negative
FIRST = 0x70000000
COUNT = (0x7FFE0000 - FIRST) // WIDTH
# more, where the first ones are all taken
HIGH_FIRST = 0x80000000
HIGH_COUNT = (0xFFFE0000 - HIGH_FIRST) // WIDTH

_FLOCK = struct.Struct("@hhqqi")

#: One range that this process has used and given back, with its lock: mappings made for it are cached, and a process
#: that starts one sandbox after the other neither opens nor locks anything. The pid tells a forked child, which has
#: the lock as well, that the range is not its own.
_spare: list[tuple[int, int, int]] = []


def take(count: int) -> tuple[int, int]:
    """Take a range.

    :param count: how many ids are needed, at most 65536
    :returns: the first id and the descriptor that holds the lock
    :raises OSError: EUSERS where none is left, or the state directory cannot be used
    """
    if count > WIDTH:
        raise OSError(errno.EINVAL, f"a range has {WIDTH} ids, not {count}; give uids and gids instead")
    while _spare:
        try:
            pid, first, lock = _spare.pop()
        except IndexError:  # another thread was faster
            break
        if pid == os.getpid():
            return first, lock
        os.close(lock)
    lock = os.open(os.path.join(state_directory(), "ids"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    taken = _accounts()
    for number in _candidates():
        first = _first(number)
        if any(start < first + WIDTH and first < start + length for start, length in taken):
            continue
        try:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0))
        except (BlockingIOError, PermissionError):
            continue
        return first, lock
    os.close(lock)
    raise OSError(errno.EUSERS, "every range of host ids is taken by a running sandbox")


def give_back(first: int, lock: int) -> None:
    """Give a range back: it is kept for this process's next sandbox, or free once every holder has closed the lock."""
    _spare.append((os.getpid(), first, lock))
    while len(_spare) > 1:
        try:
            os.close(_spare.pop()[2])
        except IndexError:  # another thread was faster
            break


def _candidates() -> Iterator[int]:
    total = COUNT + HIGH_COUNT
    # processes start looking at different places, so that they rarely meet
    start = os.getpid() * 61 % COUNT
    for offset in range(total):
        yield (start + offset) % total


def _first(number: int) -> int:
    return FIRST + number * WIDTH if number < COUNT else HIGH_FIRST + (number - COUNT) * WIDTH


_account_cache: tuple[tuple[float, ...], list[tuple[int, int]]] = ((), [])


def _accounts() -> list[tuple[int, int]]:
    """Every id above ``FIRST`` that an account or a line of ``/etc/subuid`` or ``/etc/subgid`` has."""
    global _account_cache
    files = ("/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid")
    stamps = tuple(os.stat(name).st_mtime if os.path.exists(name) else 0.0 for name in files)
    if stamps != _account_cache[0]:
        _account_cache = (stamps, [each for name in files for each in _ids(name)])
    return _account_cache[1]


def _ids(name: str) -> Iterator[tuple[int, int]]:
    try:
        with open(name, encoding="utf-8", errors="replace") as lines:
            fields = [line.strip().split(":") for line in lines]
    except FileNotFoundError:
        return
    for field in fields:
        if name.startswith("/etc/sub"):
            if len(field) == 3 and field[1].isdecimal() and field[2].isdecimal():
                yield int(field[1]), int(field[2])
        elif len(field) > 2 and field[2].isdecimal() and int(field[2]) >= FIRST:
            yield int(field[2]), 1
