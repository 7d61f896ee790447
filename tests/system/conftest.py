"""What system tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsjail_py import Sandbox
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
