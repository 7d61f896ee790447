"""Nothing is left behind: the check itself sees what is, and ends of every kind leave nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nsjail_py import PIPE, ProgramError, Sandbox, SpecError
from tests.leaks import Snapshot
from tests.system.stranger import CHILD, PARENT, Failing


def test_the_check_sees_a_sandbox(box: Sandbox, tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path)
    with box.start(["sleep", "1000"], stdin=PIPE, name="seen"):
        left = snapshot.left_behind(seconds=0)
    kinds = {thing.split()[0] for thing in left}
    assert {"descriptor", "process"} <= kinds
    assert snapshot.left_behind() == set()


def test_a_hundred_ends_of_every_kind(box: Sandbox, tmp_path: Path) -> None:
    """One descriptor lost a time would be a hundred; the fixture of all system tests compares before and after."""
    before = len(os.listdir("/proc/self/fd"))
    for turn in range(100):
        box.run(["true"], capture_output=True, input=b"x" * (turn << 10))
        with pytest.raises(ProgramError):
            box.run(["missing"], capture_output=True)
        with pytest.raises(SpecError):
            box.run(["true"], stdout=PIPE, stderr=9999)
        with box.start(["sleep", "1000"], stdout=PIPE, tty=False, timeout=1000):
            pass
        box.run(["true"], tty=True, stdout=PIPE, input=b"")
    assert len(os.listdir("/proc/self/fd")) <= before + 100, "threads that keep a deadline end on their own"


@pytest.mark.parametrize("phase", [*PARENT, *CHILD])
def test_failures_with_open_streams(busybox_root: Path, tmp_path: Path, phase: str) -> None:
    box = Sandbox(rootfs=busybox_root, plugins=[Failing(phase, str(tmp_path / "made"))])
    with (tmp_path / "log").open("ab") as log, pytest.raises(OSError, match="stranger: "):
        box.start(["true"], stdin=PIPE, stdout=PIPE, stderr=log, pass_fds=[log.fileno()], timeout=1000)
