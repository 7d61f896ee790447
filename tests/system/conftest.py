"""What system tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsjail_py import Sandbox, SandboxSpec
from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.namespaces import Pid, User
from tests.conftest import OrdinaryUser
from tests.system.callers import Caller, Ordinary, Root, callers


@pytest.fixture(scope="session", autouse=True)
def _descriptors_that_stay(busybox_root: Path) -> None:
    """A process keeps a few descriptors from its first launch on, such as the stage's; they are no leak of a test."""
    Sandbox(rootfs=busybox_root).run(["/bin/true"])


@pytest.fixture(params=callers())
def caller(request: pytest.FixtureRequest, as_user: OrdinaryUser) -> Caller:
    """Root and an ordinary user, one after the other."""
    return Root() if request.param == "root" else Ordinary(as_user)


@pytest.fixture
def as_root() -> Caller:
    """Root, for tests that are marked so."""
    return Root()


@pytest.fixture(scope="session")
def box(busybox_root: Path) -> Sandbox:
    """A sandbox with busybox as its root, in which most commands run."""
    return Sandbox(rootfs=busybox_root)


#: Sandboxes that differ in who waits for the payload, and who kills it.
WAITED_FOR = {
    "init": SandboxSpec(),
    "payload as pid 1": SandboxSpec(pid=Pid(init=False)),
    "unwatched": SandboxSpec(pid=Pid(init=False, die_with_owner=False), user=User(map="single")),
    "no pid namespace": SandboxSpec(pid=Pid(mode="off"), mnt=Mnt(proc="try")),
}


@pytest.fixture(params=WAITED_FOR)
def any_box(request: pytest.FixtureRequest, busybox_root: Path) -> Sandbox:
    """One of each of those."""
    return Sandbox(WAITED_FOR[request.param], rootfs=busybox_root)
