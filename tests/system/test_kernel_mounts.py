"""/dev, /proc, tmpfs and the other kinds that are no files of the host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.spec.mnt import Mnt
from tests.system.callers import Caller

NODES = ("full", "null", "random", "tty", "urandom", "zero")
EMPTY: dict[str, Any] = {}


def mounting(*mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"mnt": {"mounts": list(mounts), **more}}


def test_dev_has_these_nodes_and_no_other(caller: Caller) -> None:
    lines = caller.shell(EMPTY, "cd /dev; for n in *; do echo $n $(stat -c '%F %t:%T' $n | tr ' ' -); done").lines()
    found = dict(line.split() for line in lines)
    assert {name for name, kind in found.items() if kind.startswith("character")} == set(NODES)
    assert set(found) == {*NODES, "fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout"}


def test_the_nodes_are_what_they_are_called(caller: Caller) -> None:
    script = "head -c 4 /dev/zero | od -An -tx1; echo gone > /dev/null; head -c 4 /dev/zero > /dev/full"
    ran = caller.shell(EMPTY, script)
    assert ran.out.split() == ["00"] * 4
    assert "No space left on device" in ran.err


def test_shared_memory_and_terminals_are_its_own(caller: Caller) -> None:
    script = "touch /dev/shm/x && ls /dev/shm; ls /dev/pts; stat -f -c %T /dev/pts; exec 3<>/dev/ptmx && ls /dev/pts"
    assert caller.shell(EMPTY, script).lines() == ["x", "ptmx", "devpts", "0", "ptmx"]
    assert not Path("/dev/shm/x").exists()


def test_more_can_be_put_into_dev(caller: Caller) -> None:
    spec = mounting(
        {"kind": "symlink", "target": "/dev/console", "to": "null"},
        {"kind": "tmpfs", "target": "/dev/more"},
        {"kind": "tmpfs", "target": "/dev/shm", "size": "4k"},
    )
    script = "cat /dev/console; touch /dev/more/x && ls /dev/more; head -c 9000 /dev/zero > /dev/shm/x || echo full"
    ran = caller.shell(spec, f"({script}) 2>/dev/null; ls /dev")
    assert ran.lines()[:2] == ["x", "full"]
    assert set(ran.lines()[2:]) >= {*NODES, "console", "more"}


def test_no_dev_is_no_dev(caller: Caller) -> None:
    assert caller.shell({"mnt": {"dev": False}}, "ls -d /dev 2>&1 | grep -c 'No such'").lines() == ["1"]


@pytest.mark.root
def test_a_device_of_a_root_directory_is_none(as_root: Caller, tmp_path: Path, busybox_root: Path) -> None:
    """CVE-2025-31133: what a root calls /dev/null or /dev may be anything."""
    root = tmp_path / "root"
    shutil.copytree(busybox_root, root, symlinks=True)
    os.mknod(root / "kmem", 0o20666, os.makedev(1, 1))
    spec: dict[str, Any] = {"mnt": {"root": {"path": str(root)}}}
    assert "Permission denied" in as_root.shell(spec, "cat < /kmem").err
    victim = tmp_path / "victim"
    victim.mkdir()
    (root / "dev").rmdir()
    (root / "dev").symlink_to(victim)
    assert "/dev goes through the symbolic link /dev -> " in as_root.shell(spec, "true").error
    (root / "dev").unlink()
    (root / "dev").symlink_to("etc")
    assert "/dev of the root is a symbolic link" in as_root.shell(spec, "true").error
    assert list(victim.iterdir()) == []


def test_proc_shows_the_sandbox_alone(caller: Caller) -> None:
    numbers = caller.shell(EMPTY, "echo /proc/[0-9]*").lines()[0].split()
    assert len(numbers) <= 3


def test_sensitive_files_of_proc_are_empty_or_gone(caller: Caller) -> None:
    masks = [path for path in Mnt().masks if path.startswith("/proc/") and Path(path).exists()]
    assert masks
    script = (
        "for p in " + " ".join(masks) + "; do ls -A $p >/dev/null; test -d $p && ls -A $p; test -f $p && cat $p; done"
    )
    assert caller.shell(EMPTY, f"{script}; true").lines() == []


def test_sysctls_refuse_writes_even_to_root(caller: Caller) -> None:
    script = (
        "for p in /proc/sys/kernel/hostname /proc/sys/vm/swappiness /proc/irq/default_smp_affinity; do "
        "test -e $p && echo 1 > $p; done"
    )
    spec = {"process": {"user": "0"}} if caller.root else EMPTY
    errors = caller.shell(spec, f"({script}) 2>&1; true").lines()
    assert errors
    assert all("Read-only file system" in line for line in errors), errors


def test_proc_is_left_out_where_that_is_said(caller: Caller) -> None:
    assert caller.shell({"mnt": {"proc": False}}, "ls -d /proc 2>/dev/null || echo none").lines() == ["none"]


def test_proc_of_no_pid_namespace_is_an_error_with_a_way_out(caller: Caller) -> None:
    spec: dict[str, Any] = {"pid": {"mode": "off"}}
    assert caller.shell(spec, "true").error == (
        "$.mnt.proc: procfs shows a pid namespace, and the sandbox has none of its own\n"
        'hint: set pid.mode to on, or mnt.proc to "try" to show the caller\'s processes, or to false'
    )
    spec["mnt"] = {"proc": "try"}
    script = """awk '$5 == "/proc" { print substr($6, 1, 2) }' /proc/self/mountinfo"""
    assert caller.shell(spec, script).lines() == ["ro"]


def test_a_tmpfs_is_as_large_as_was_said(caller: Caller) -> None:
    spec = mounting({"kind": "tmpfs", "target": "/a/b", "size": "64k", "inodes": 3, "mode": "711", "owned": True})
    script = (
        "stat -c '%a %U' /a/b; head -c 60000 /dev/zero > /a/b/one && echo fits; head -c 9000 /dev/zero > /a/b/two; "
        "touch /a/b/three"
    )
    ran = caller.shell(spec, script)
    assert ran.out == "711 user\nfits\n"
    assert ran.err.count("No space left on device") == 2


def test_the_small_kinds(caller: Caller) -> None:
    spec = mounting(
        {"kind": "directory", "target": "/made/here", "mode": "750", "owned": True},
        {"kind": "symlink", "target": "/link", "to": "made/here"},
        {"kind": "file", "target": "/opt/file", "content": "text\n", "mode": "600"},
        {"kind": "mask", "target": "/usr/share"},
        {"kind": "mask", "target": "/etc/hosts"},
        {"kind": "mqueue", "target": "/mqueue"},
        {"kind": "sysfs", "target": "/sys"},
    )
    script = (
        "stat -c '%a %U %F' /made/here; readlink /link; stat -c '%a %s' /opt/file; ls -A /usr/share; cat /etc/hosts; "
        "stat -f -c %T /mqueue /sys; ls /sys/class/net; ls -A /sys/firmware"
    )
    assert caller.shell(spec, script).lines() == ["750 user directory", "made/here", "600 5", "mqueue", "sysfs", "lo"]


def test_a_file_goes_over_one_of_a_read_only_root(caller: Caller, busybox_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "ordinary-home" / "root"
    shutil.copytree(busybox_root, root, symlinks=True)
    (root / "etc" / "motd").write_text("theirs\n")
    spec = mounting({"kind": "file", "target": "/etc/motd", "content": "ours\n"}, root={"path": str(root)})
    assert caller.shell(spec, "cat /etc/motd; echo x 2>/dev/null > /etc/motd || echo refused").lines() == [
        "ours",
        "refused",
    ]
    assert (root / "etc" / "motd").read_text() == "theirs\n"


def test_an_overlay_is_a_mount_too(caller: Caller, tmp_path: Path) -> None:
    layers = []
    for name in ("one", "two"):
        layer = tmp_path / "ordinary-home" / name
        layer.mkdir()
        (layer / name).write_text(f"{name}\n")
        os.chown(layer, caller.uid, caller.uid)
        layers.append(str(layer))
    spec = mounting(
        {"kind": "overlay", "target": "/first", "lower": layers},
        {"kind": "overlay", "target": "/second", "lower": layers[:1]},
    )
    lines = caller.shell(
        spec | {"process": {"user": "0"}}, "ls /first /second; cat /first/two; touch /first/new"
    ).lines()
    assert lines == ["/first:", "one", "two", "", "/second:", "one", "two"]
    assert sorted(path.name for path in (tmp_path / "ordinary-home").rglob("new")) == []
