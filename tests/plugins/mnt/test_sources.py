"""What a privileged parent clones: the attributes, the ids, and what is refused. Nothing is attached anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux.host import Host
from nsjail_py.linux.idmap import IdRange
from nsjail_py.plan.launch import IdMaps, Launch
from nsjail_py.plan.part import Slot
from nsjail_py_plugins.mnt import dev, device_tree
from nsjail_py_plugins.mnt.sources import CloneSource

pytestmark = pytest.mark.root

SLOT = Slot("here")
RANGE = IdMaps((IdRange(0, 0x70000000, 65536),), (IdRange(0, 0x70000000, 65536),))


@pytest.fixture
def launch() -> Iterator[Launch]:
    made = Launch(Host.probe())
    yield made
    made.release()
    made.undo.close()


def clone(launch: Launch, source: Path, **more: Any) -> int:
    CloneSource(slot=SLOT, source=str(source), **more).run(launch)
    return launch.descriptor(SLOT)


def owner(tree: int, name: str = ".") -> tuple[int, int]:
    found = os.stat(name, dir_fd=tree)
    return found.st_uid, found.st_gid


def test_attributes_are_those_of_the_clone_alone(launch: Launch, tmp_path: Path) -> None:
    tree = clone(launch, tmp_path, attributes=c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV)
    flags = os.fstatvfs(tree).f_flag
    assert flags & os.ST_RDONLY
    assert flags & os.ST_NOSUID
    assert not os.statvfs(tmp_path).f_flag & os.ST_RDONLY


@pytest.mark.parametrize("base", ["tmp_path", "/dev/shm"])
def test_native_ids_look_like_those_of_the_sandbox(launch: Launch, tmp_path: Path, base: str) -> None:
    if base == "/dev/shm" and launch.host.kernel < (6, 3):
        pytest.skip("this kernel cannot id-map a tmpfs")
    source = tmp_path if base == "tmp_path" else Path(base, f"nsjail-py-test-{os.getpid()}")
    source.mkdir(exist_ok=True)
    try:
        (source / "file").touch()
        os.chown(source / "file", 33, 44)
        launch.maps = RANGE
        tree = clone(launch, source, shift="native")
        assert owner(tree, "file") == (0x70000000 + 33, 0x70000000 + 44)
        assert owner(tree) == (0x70000000, 0x70000000)
    finally:
        (source / "file").unlink()
        source.rmdir()


def test_what_the_caller_owns_looks_like_the_payloads(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    os.chown(tmp_path / "theirs", 33, 33)
    launch.maps = RANGE
    tree = clone(launch, tmp_path, shift="owner", ids=((0, 0), (1000, 1001)), writable=True)
    assert owner(tree) == (0x70000000 + 1000, 0x70000000 + 1001)
    assert owner(tree, "theirs") == (65534, 65534)


def test_without_maps_ids_are_shifted_only_where_they_differ(launch: Launch, tmp_path: Path) -> None:
    assert owner(clone(launch, tmp_path, shift="owner", ids=((0, 0), (7, 8)))) == (7, 8)
    launch.release()
    assert owner(clone(launch, tmp_path, shift="owner", ids=((0, 0), (0, 0)))) == (0, 0)
    launch.release()
    assert owner(clone(launch, tmp_path, shift="native")) == (0, 0)


def test_a_file_system_that_cannot_shift_is_shown_as_it_is_where_it_is_read_only(launch: Launch) -> None:
    launch.maps = RANGE
    tree = clone(launch, Path("/proc"), shift="native", attributes=c.MOUNT_ATTR_RDONLY)
    assert owner(tree) == (0, 0)
    assert os.fstatvfs(tree).f_flag & os.ST_RDONLY
    assert launch.warnings == ["mnt: /proc: its file system cannot shift ids: owners look like nobody"]


def test_a_file_system_that_cannot_shift_is_an_error_where_it_is_writable(launch: Launch) -> None:
    launch.maps = RANGE
    with pytest.raises(OSError, match="its file system cannot shift ids"):
        clone(launch, Path("/proc"), shift="native", writable=True)


def test_a_mount_below_that_cannot_shift_stays_as_it_is(launch: Launch) -> None:
    """``/`` can, ``/proc`` below it cannot: the attributes hold for both."""
    launch.maps = RANGE
    tree = clone(launch, Path("/"), shift="native", attributes=c.MOUNT_ATTR_RDONLY)
    if launch.warnings:
        pytest.skip("the file system of / cannot be id-mapped")
    assert owner(tree) == (0x70000000, 0x70000000)
    assert owner(tree, "proc") == (0, 0)
    below = os.open("proc", os.O_PATH, dir_fd=tree)
    try:
        assert os.fstatvfs(below).f_flag & os.ST_RDONLY
    finally:
        os.close(below)


def test_an_absent_source_is_an_error_or_an_empty_slot(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        clone(launch, tmp_path / "absent")
    assert clone(launch, tmp_path / "absent", optional=True) == -1


def test_a_descriptor_is_what_it_was_when_it_was_opened(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    opened = os.open(tmp_path / "old", os.O_PATH)
    try:
        (tmp_path / "old").rename(tmp_path / "new")
        CloneSource(slot=SLOT, fd=opened).run(launch)
        assert os.path.samestat(os.fstat(launch.descriptor(SLOT)), (tmp_path / "new").stat())
    finally:
        os.close(opened)


@pytest.mark.parametrize("target", ["/", "/run", "/proc/self"])
def test_a_source_that_was_swapped_for_a_sensitive_one_is_refused(launch: Launch, tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(PermissionError, match="has become a link to /"):
        clone(launch, tmp_path / "link", guarded=True)
    assert clone(launch, tmp_path / "link", guarded=False) >= 0


def test_devices_are_checked_before_they_are_cloned(launch: Launch, tmp_path: Path) -> None:
    """CVE-2025-31133: a device is what its number says, not what its name says."""
    for name, number in dev.NODES.items():
        os.mknod(tmp_path / name, 0o20666, number)
    slots = tuple(Slot(name) for name in dev.NODES)
    dev.CloneDevices(fills=slots, directory=str(tmp_path)).run(launch)
    for slot, number in zip(slots, dev.NODES.values(), strict=True):
        assert os.fstat(launch.descriptor(slot)).st_rdev == number
    (tmp_path / "null").unlink()
    os.mknod(tmp_path / "null", 0o20666, os.makedev(1, 1))
    with pytest.raises(OSError, match="not the device that it is called"):
        dev.CloneDevices(fills=slots, directory=str(tmp_path)).run(launch)
    (tmp_path / "null").unlink()
    (tmp_path / "null").symlink_to("/dev/null")
    with pytest.raises(OSError, match="not the device that it is called"):
        dev.CloneDevices(fills=slots, directory=str(tmp_path)).run(launch)


def test_the_ready_made_tree_has_the_same_devices() -> None:
    tree = device_tree.make(dev.NODES, dev.LINKS)
    try:
        with os.scandir(f"/proc/self/fd/{tree}") as entries:
            assert {entry.name for entry in entries} == {*dev.NODES, *dev.LINKS, "mqueue", "pts", "shm"}
        for name, number in dev.NODES.items():
            found = os.stat(name, dir_fd=tree)
            assert (found.st_rdev, found.st_mode & 0o7777) == (number, 0o666)
        for name, text in dev.LINKS.items():
            assert os.readlink(name, dir_fd=tree) == text
        assert os.fstatvfs(tree).f_flag & os.ST_RDONLY
    finally:
        os.close(tree)
