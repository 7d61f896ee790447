"""Messages with descriptors, and sockets inside another network namespace. See unix(7).

Descriptors are plain integers: the `socket` module takes longer to import than a sandbox takes to start.
"""

from __future__ import annotations

import errno

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def seqpacket_pair() -> tuple[int, int]:
    """Two connected SOCK_SEQPACKET sockets: messages keep their bounds, and the end of one side is seen by the other.

    >>> import os
    >>> ours, theirs = seqpacket_pair()
    >>> send(ours, b"hello", [ours])
    5
    >>> data, (copy,) = recv(theirs, 64, max_fds=1)
    >>> data
    b'hello'
    >>> for fd in (ours, theirs, copy):
    ...     os.close(fd)
    """
    pair = ffi.new("int[2]")
    check(lib.nsj_socketpair(c.SOCK_SEQPACKET, pair), "socketpair")
    return pair[0], pair[1]


def send(fd: int, data: bytes, fds: Sequence[int] = (), flags: int = 0) -> int:
    """Send one message, and copies of descriptors with it.

    :param fds: at most 253
    :param flags: ``MSG_*``; a closed peer is EPIPE, never SIGPIPE
    :returns: the number of bytes sent
    :raises OSError: as in sendmsg(2)
    """
    arguments = fd, data, len(data), fds or ffi.NULL, len(fds), flags
    code = lib.nsj_send(*arguments)
    while code == -errno.EINTR:
        code = lib.nsj_send(*arguments)  # handlers have run between the two
    return check(code, "sendmsg")


def recv(fd: int, size: int, max_fds: int = 0, flags: int = 0) -> tuple[bytes, list[int]]:
    """Receive one message.

    :param size: the length of the longest message that is expected, in bytes
    :param max_fds: how many descriptors are expected at most
    :param flags: ``MSG_*``
    :returns: the message, empty at the end, and the descriptors
    :raises OSError: EMSGSIZE where more came than was expected: the message and its descriptors are gone;
        otherwise as in recvmsg(2)
    """
    data = ffi.new("char[]", size)
    fds = ffi.new("int32_t[]", max_fds)
    count = ffi.new("size_t *")
    length = lib.nsj_recv(fd, data, size, fds, max_fds, count, flags)
    while length == -errno.EINTR:
        length = lib.nsj_recv(fd, data, size, fds, max_fds, count, flags)  # handlers have run between the two
    check(length, "recvmsg")
    return bytes(ffi.buffer(data, length)), list(fds[0 : count[0]])


def socket_in_namespace(net: int, domain: int, kind: int, protocol: int = 0) -> int:
    """Make a socket that belongs to another network namespace.

    The calling thread enters the namespace, makes the socket and comes back within one call, so that no Python runs
    in between.

    :param net: the network namespace
    :param domain: ``AF_*``
    :param kind: ``SOCK_*``
    :param protocol: as in socket(2)
    :returns: a descriptor
    :raises OSError: EPERM without CAP_SYS_ADMIN over that namespace and over the own one, EINVAL for another kind
    """
    return check(lib.nsj_socket_in(net, domain, kind, protocol), "socket in a network namespace")
