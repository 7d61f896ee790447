"""Messages with descriptors, and sockets of other network namespaces."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux import sockets


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    ours, theirs = sockets.seqpacket_pair()
    yield ours, theirs
    for fd in (ours, theirs):
        try:
            os.close(fd)
        except OSError:
            pass


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_messages_keep_their_bounds(pair: tuple[int, int]) -> None:
    ours, theirs = pair
    sockets.send(ours, b"one")
    sockets.send(ours, b"two")
    assert [sockets.recv(theirs, 100), sockets.recv(theirs, 100)] == [(b"one", []), (b"two", [])]


def test_descriptors_travel(pair: tuple[int, int]) -> None:
    ours, theirs = pair
    r, w = os.pipe()
    sockets.send(ours, b"x", [w, r])
    data, (other_w, other_r) = sockets.recv(theirs, 1, max_fds=2)
    os.write(other_w, b"through")
    assert (data, os.read(r, 100)) == (b"x", b"through")
    assert not os.get_inheritable(other_w)
    for fd in (r, w, other_r, other_w):
        os.close(fd)


def test_the_most_descriptors_that_a_message_may_have(pair: tuple[int, int]) -> None:
    ours, theirs = pair
    sockets.send(ours, b"x", [ours] * c.NSJ_MAX_FDS)
    _, fds = sockets.recv(theirs, 1, max_fds=c.NSJ_MAX_FDS)
    for fd in fds:
        os.close(fd)
    assert len(fds) == c.NSJ_MAX_FDS
    with pytest.raises(OSError, match="sendmsg: Invalid argument"):
        sockets.send(ours, b"x", [ours] * (c.NSJ_MAX_FDS + 1))


@pytest.mark.parametrize(("size", "max_fds"), [(3, 2), (4, 1), (4, 0), (0, 0)])
def test_more_than_was_expected_is_refused_and_not_leaked(pair: tuple[int, int], size: int, max_fds: int) -> None:
    ours, theirs = pair
    before = descriptors()
    sockets.send(ours, b"four", [ours, theirs])
    with pytest.raises(OSError, match="recvmsg: Message too long") as caught:
        sockets.recv(theirs, size, max_fds=max_fds)
    assert caught.value.errno == errno.EMSGSIZE
    assert descriptors() == before


def test_the_end(pair: tuple[int, int]) -> None:
    ours, theirs = pair
    os.close(theirs)
    with pytest.raises(BrokenPipeError, match="sendmsg: Broken pipe"):  # and no SIGPIPE
        sockets.send(ours, b"x")
    assert sockets.recv(ours, 10) == (b"", [])


def test_nothing_yet(pair: tuple[int, int]) -> None:
    with pytest.raises(BlockingIOError):
        sockets.recv(pair[0], 10, flags=c.MSG_DONTWAIT)


def test_a_socket_of_another_network_namespace(inside: Callable[[str], str]) -> None:
    inside(
        """
from nsjail_py.linux.call import check, ffi, lib
other = namespaces.open_namespace("net")
namespaces.unshare(c.CLONE_NEWNET)
own = namespaces.open_namespace("net")
fd = sockets.socket_in_namespace(other, c.AF_INET, c.SOCK_DGRAM)
SIOCGSKNS = 0x894C
of_socket = check(lib.nsj_ioctl(fd, SIOCGSKNS, ffi.NULL), "ioctl(SIOCGSKNS)")
assert namespaces.same_namespace(of_socket, other)
assert namespaces.same_namespace(namespaces.open_namespace("net"), own)
raises(errno.EAFNOSUPPORT, sockets.socket_in_namespace, other, 255, c.SOCK_DGRAM)
raises(errno.EINVAL, sockets.socket_in_namespace, namespaces.open_namespace("uts"), c.AF_INET, c.SOCK_DGRAM)
assert namespaces.same_namespace(namespaces.open_namespace("net"), own)
"""
    )


def test_no_right_to_come_back_is_found_out_before_leaving(inside: Callable[[str], str]) -> None:
    inside(
        """
net = namespaces.open_namespace("net")
caps.capset(caps.CapSets())
said = raises(errno.EPERM, sockets.socket_in_namespace, net, c.AF_INET, c.SOCK_DGRAM)
assert said == "[Errno 1] socket in a network namespace: Operation not permitted"
"""
    )
