"""Namespaces: made, entered, opened, told apart."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux import namespaces, process
from nsjail_py.linux.host import Host

EXISTING = [kind for kind in namespaces.KINDS if os.path.exists(f"/proc/self/ns/{kind}")]


@pytest.mark.parametrize("kind", EXISTING)
def test_open_and_tell(kind: str) -> None:
    mine, same = namespaces.open_namespace(kind), namespaces.open_namespace(kind, pid=os.getpid())
    assert namespaces.namespace_kind(mine) == kind
    assert namespaces.same_namespace(mine, same)
    assert not os.get_inheritable(mine)
    os.close(mine)
    os.close(same)


@pytest.mark.parametrize("kind", EXISTING)
def test_open_by_pidfd(kind: str) -> None:
    if Host.probe().kernel < (6, 11):
        pytest.skip("ioctl_pidfd(2) opens namespaces since Linux 6.11")
    pidfd = process.pidfd_open(os.getpid())
    mine, same = namespaces.open_namespace(kind), namespaces.open_namespace_of(pidfd, kind)
    assert namespaces.same_namespace(mine, same)
    for fd in (pidfd, mine, same):
        os.close(fd)


def test_open_something_of_another_kind() -> None:
    with pytest.raises(OSError, match="a namespace of kind net, not uts: '/proc/self/ns/net'") as caught:
        namespaces.open_namespace("uts", path="/proc/self/ns/net")
    assert caught.value.errno == errno.EINVAL


def test_open_something_else() -> None:
    with pytest.raises(OSError, match="not a namespace: '/dev/null'") as caught:
        namespaces.open_namespace("uts", path="/dev/null")
    assert caught.value.errno == errno.EINVAL


def test_open_of_no_process() -> None:
    with pytest.raises(FileNotFoundError):
        namespaces.open_namespace("uts", pid=2**22 + 1)


def test_failures_name_the_call() -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(OSError, match="setns: Invalid argument"):
        namespaces.setns(null)
    with pytest.raises(OSError, match="unshare: Invalid argument"):
        namespaces.unshare(1)
    with pytest.raises(OSError, match=r"ioctl\(NS_GET_PARENT\)"):
        namespaces.parent_namespace(null)
    with pytest.raises(OSError, match=r"ioctl\(NS_GET_USERNS\)"):
        namespaces.owning_user_namespace(null)
    with pytest.raises(OSError, match=r"ioctl\(NS_GET_OWNER_UID\)"):
        namespaces.owner_uid(null)
    with pytest.raises(OSError, match=r"ioctl\(PIDFD_GET_NAMESPACE\)"):
        namespaces.open_namespace_of(null, "uts")
    os.close(null)


def test_owners(inside: Callable[[str], str]) -> None:
    inside(
        """
user, net = namespaces.open_namespace("user"), namespaces.open_namespace("net")
assert namespaces.same_namespace(namespaces.owning_user_namespace(net), user)
assert namespaces.owner_uid(user) == 0  # the creator, as seen from inside
assert "Operation not permitted" in raises(errno.EPERM, namespaces.parent_namespace, user)
"""
    )


def test_enter_and_come_back(inside: Callable[[str], str]) -> None:
    inside(
        """
namespaces.sethostname("first")
first = namespaces.open_namespace("uts")
namespaces.unshare(c.CLONE_NEWUTS)
namespaces.sethostname("second")
namespaces.setdomainname("domain")
assert os.uname().nodename == "second"
assert open("/proc/sys/kernel/domainname").read() == "domain\\n"
raises(errno.EINVAL, namespaces.setns, first, c.CLONE_NEWNET)
namespaces.setns(first, c.CLONE_NEWUTS)
assert os.uname().nodename == "first"
assert raises(errno.EINVAL, namespaces.sethostname, "x" * 65) == "[Errno 22] sethostname: Invalid argument"
raises(errno.EINVAL, namespaces.setdomainname, "x" * 65)
"""
    )


def test_every_kind_has_its_flag() -> None:
    assert namespaces.KINDS == {
        "user": c.CLONE_NEWUSER,
        "mnt": c.CLONE_NEWNS,
        "pid": c.CLONE_NEWPID,
        "net": c.CLONE_NEWNET,
        "ipc": c.CLONE_NEWIPC,
        "uts": c.CLONE_NEWUTS,
        "cgroup": c.CLONE_NEWCGROUP,
        "time": c.CLONE_NEWTIME,
    }
