"""Hints for steps that failed, lines for the doctor, and the sweeper."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.errors import SetupError
from nsjail_py.linux.host import Host
from nsjail_py.spec.mnt import Mnt, Root
from nsjail_py_plugins import mnt
from tests.plugins.mnt.hosts import NEWER, ROOT, USER, spec

SWAPPED = "has become a link to /run"
OLD = ROOT.replace(kernel=(5, 15))
CONTAINER = ROOT.replace(container="docker")


def hint(
    step: str, number: int, *, host: Host = ROOT, section: Mnt | None = None, reason: str | None = None
) -> str | None:
    error = SetupError(step, owner="mnt", errno=number, path="/p", reason=reason)
    return mnt.nsjail_explain(error, "mnt", spec(section), host)


@pytest.mark.parametrize(
    ("step", "number", "more", "expected"),
    [
        ("new proc", errno.EPERM, {}, "the kernel refuses a new proc where the one on /proc is partly covered"),
        ("new sysfs", errno.EPERM, {}, "the kernel refuses a new sysfs where the one on /sys is partly covered"),
        ("new tmpfs", errno.EPERM, {"host": CONTAINER}, "let the docker container mount"),
        ("keep changes in /k", errno.EWOULDBLOCK, {}, "wait for the other sandbox"),
        ("clone /p (writable, its ids shifted)", errno.EINVAL, {}, "ids cannot be shifted on the file system of /p"),
        (
            "clone /p (writable, ids shifted)",
            errno.EPERM,
            {"reason": SWAPPED},
            "/p has been changed since it was checked",
        ),
        ("own devices", errno.EROFS, {"section": Mnt(root=Root(path="/r"))}, "create /p in /r, or use --rw or"),
        ("bind /p -> /d", errno.ENOENT, {}, "create /p, or write the bind as optional"),
        ("file /f", errno.ENOSPC, {}, "make the sandbox's own root larger: mnt.size"),
        ("clone the mount tree at /p", errno.EINVAL, {}, "an ordinary user can only show a directory together with"),
    ],
)
def test_a_failed_step_has_a_remedy(step: str, number: int, more: dict[str, Any], expected: str) -> None:
    found = hint(step, number, **more)
    assert found is not None
    assert found.startswith(expected)


def test_what_is_not_known_is_not_explained() -> None:
    assert hint("new tmpfs", errno.ENOMEM) is None
    assert hint("own devices", errno.EROFS) is None
    error = SetupError("host name", owner="uts", errno=errno.EPERM)
    assert mnt.nsjail_explain(error, "uts", spec(), ROOT) is None


def lines(host: Host) -> dict[str, tuple[str, str | None]]:
    return {line.topic: (line.state, line.remedy) for line in mnt.nsjail_doctor(host)}


def test_the_doctor_says_what_can_be_mounted() -> None:
    assert lines(NEWER) == {
        "mnt namespace": ("yes", None),
        "id-mapped mounts": ("yes", None),
        "overlay": ("yes", None),
    }
    assert lines(USER)["id-mapped mounts"] == (
        "part",
        "run as root, or unpack the root directory as the user who runs it",
    )
    assert lines(OLD)["id-mapped mounts"] == ("part", "keep root directories on ext4, xfs or btrfs")
    assert lines(OLD)["overlay"] == ("no", "use Linux 5.19 or later")
    without = ROOT.replace(filesystems=frozenset({"ext4"}))
    assert lines(without)["overlay"] == ("part", "modprobe overlay")


def test_work_directories_of_the_dead_are_removed(tmp_path: Path) -> None:
    work = tmp_path / ".up.work"
    (work / "work" / "incoming").mkdir(parents=True)
    (work / "work").chmod(0)
    record = {"facts": {"work_directories": [str(work), str(tmp_path / "gone")]}}
    assert list(mnt.nsjail_sweep(record)) == [f"removed the work directory {work}"]
    assert list(tmp_path.iterdir()) == []
    assert list(mnt.nsjail_sweep({"facts": {}})) == []


def test_a_work_directory_that_another_sandbox_uses_by_now_stays(tmp_path: Path) -> None:
    upper, work = tmp_path / "up", tmp_path / ".up.work"
    upper.mkdir()
    work.mkdir()
    record = {"facts": {"work_directories": [str(work)]}}
    held = os.open(upper, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert list(mnt.nsjail_sweep(record)) == []
    assert work.is_dir()
    os.close(held)
    assert list(mnt.nsjail_sweep(record)) == [f"removed the work directory {work}"]
    assert upper.is_dir()
