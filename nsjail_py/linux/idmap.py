"""Id maps: ranges, their text, and user namespaces that exist only to hold one. See user_namespaces(7)."""

from __future__ import annotations

from _thread import allocate_lock

from nsjail_py.linux.call import check, ffi, lib
from nsjail_py.linux.process import file_writes
from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class IdRange(Record):
    """Consecutive ids inside a user namespace, and what they are outside.

    :param inside: the first id inside
    :param outside: the first id outside
    :param count: how many
    """

    inside: int
    outside: int
    count: int = 1

    def __str__(self) -> str:
        return f"{self.inside} {self.outside} {self.count}"


def map_text(ranges: Iterable[IdRange]) -> bytes:
    r"""What to write to a ``uid_map`` or ``gid_map``.

    >>> map_text([IdRange(0, 100000, 1000), IdRange(1000, 1000)])
    b'0 100000 1000\n1000 1000 1\n'
    """
    return "".join([f"{entry}\n" for entry in ranges]).encode()


def parse_map(text: str) -> tuple[IdRange, ...]:
    """Read the contents of a ``uid_map`` or ``gid_map``.

    >>> parse_map("         0     100000       1000")
    (IdRange(inside=0, outside=100000, count=1000),)
    """
    return tuple([IdRange(*map(int, line.split())) for line in text.splitlines()])


def outside(ranges: Iterable[IdRange], inside: int) -> int | None:
    """The id outside for one inside; ``None`` where it is not mapped.

    >>> outside([IdRange(0, 100000, 1000)], 33)
    100033
    """
    return next((r.outside + inside - r.inside for r in ranges if r.inside <= inside < r.inside + r.count), None)


_lock = allocate_lock()
_made: dict[tuple[bytes, bytes], int] = {}


def mapping_namespace(uids: Iterable[IdRange], gids: Iterable[IdRange]) -> int:
    """A user namespace with these maps, for ``MOUNT_ATTR_IDMAP``.

    Making one takes milliseconds and needs a short-lived process, so the descriptor of each is kept for the life of
    the calling process; the caller must not close it.

    :param uids: inside: as the file system stores them; outside: as they are to look
    :param gids: the same for groups
    :returns: a descriptor
    :raises OSError: EPERM where the caller may not write these maps
    """
    key = map_text(uids), map_text(gids)
    with _lock:
        if key not in _made:
            writes = (("uid_map", key[0]), ("gid_map", key[1]))
            keep = file_writes(writes)
            failed = ffi.new("int *")
            code = lib.nsj_mapping_namespace(keep[0], len(writes), failed)
            call = f"write of {writes[failed[0]][0]}" if failed[0] >= 0 else "user namespace"
            _made[key] = check(code, call)
        return _made[key]
