"""Real roots: a directory read-only and writable, overlays thrown away and kept, and an empty one."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.linux.host import Host
from tests.conftest import OrdinaryUser
from tests.system.callers import Caller


def of_directory(path: Path, **more: Any) -> dict[str, Any]:
    return {"mnt": {"root": {"path": str(path), **more}}}


@pytest.fixture
def tree(tmp_path: Path, busybox_root: Path, caller: Caller) -> Path:
    """A root of the caller's own that may be written to."""
    root = tmp_path / "ordinary-home" / "tree"
    shutil.copytree(busybox_root, root, symlinks=True)
    for each in (root, *root.rglob("*")):
        os.chown(each, caller.uid, caller.uid, follow_symlinks=False)
    return root


def test_a_root_directory_is_read_only_and_its_own(caller: Caller, tree: Path) -> None:
    script = """ls /; touch /new 2>/dev/null || echo refused; awk '$5 == "/"' /proc/self/mountinfo"""
    lines = caller.shell(of_directory(tree), script).lines()
    assert set(lines[:-2]) == set(os.listdir(tree))
    assert lines[-2] == "refused"
    assert lines[-1].split()[5].split(",")[:3] == ["ro", "nosuid", "nodev"]


def test_the_payload_is_root_of_a_root_directory(caller: Caller, tree: Path) -> None:
    assert caller.shell(of_directory(tree), "id -u; id -g").lines() == ["0", "0"]


def test_a_writable_root_is_written_as_its_owner(caller: Caller, tree: Path) -> None:
    assert caller.shell(of_directory(tree, writable=True), "echo made > /made").lines() == []
    assert (tree / "made").read_text() == "made\n"
    assert (tree / "made").stat().st_uid == caller.uid


@pytest.mark.root
def test_ids_in_a_root_directory_are_its_own(as_root: Caller, tmp_path: Path, busybox_root: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(busybox_root, root, symlinks=True)
    (root / "of-33").touch()
    os.chown(root / "of-33", 33, 44)
    os.chown(root / "tmp", 0, 0)
    spec = of_directory(root, writable=True) | {"privileges": {"capabilities": ["CAP_CHOWN"]}}
    lines = as_root.shell(spec, "stat -c '%u:%g' /of-33 /bin; touch /new; chown 5:6 /new").lines()
    assert lines == ["33:44", "0:0"]
    assert ((root / "new").stat().st_uid, (root / "new").stat().st_gid) == (5, 6)


def test_a_missing_target_in_a_read_only_root_is_found_before_anything_runs(caller: Caller, tree: Path) -> None:
    spec = of_directory(tree)
    spec["mnt"]["mounts"] = [{"kind": "bind", "source": "/usr", "target": "/srv/absent"}]
    error = caller.shell(spec, "echo ran").error
    assert error == (
        f"$.mnt.mounts[0].target: /srv/absent does not exist in the read-only root {tree}\n"
        "hint: create it there, --rw or --overlay"
    )


def test_a_missing_target_in_a_writable_root_is_made(caller: Caller, tree: Path) -> None:
    spec = of_directory(tree, writable=True)
    spec["mnt"]["mounts"] = [{"kind": "tmpfs", "target": "/srv/new"}]
    assert caller.shell(spec, "touch /srv/new/x && ls /srv/new").lines() == ["x"]
    assert list((tree / "srv/new").iterdir()) == []


def test_an_overlay_throws_its_changes_away(caller: Caller, tree: Path) -> None:
    spec = {"mnt": {"overlay": {"lower": [str(tree)]}}}
    before = sorted(tree.rglob("*"))
    script = "echo new > /new; mkdir -p /a/b; rmdir /sys; cat /new; ls -d /sys /a/b 2>/dev/null || true"
    assert caller.shell(spec, script).lines() == ["new", "/a/b"]
    assert sorted(tree.rglob("*")) == before


def test_an_overlay_shows_the_topmost_of_its_layers(caller: Caller, tree: Path, tmp_path: Path) -> None:
    home = tmp_path / "ordinary-home"
    layers = [home / name for name in ("top", "middle")]
    for layer in layers:
        (layer / "etc").mkdir(parents=True)
        (layer / "etc" / "which").write_text(f"{layer.name}\n")
        (layer / f"only-{layer.name}").touch()
    spec = {"mnt": {"overlay": {"lower": [*map(str, layers), str(tree)]}}}
    assert caller.shell(spec, "cat /etc/which; ls -d /only-*").lines() == ["top", "/only-middle", "/only-top"]


@pytest.mark.parametrize("count", [3, 41, 42, 60])
def test_an_overlay_has_as_many_layers_as_are_named(caller: Caller, tree: Path, tmp_path: Path, count: int) -> None:
    layers = []
    for number in range(count - 1):
        layer = tmp_path / "ordinary-home" / f"layer,with:odd=name-{number}"
        layer.mkdir()
        (layer / f"file-{number}").touch()
        layers.append(str(layer))
    spec = {"mnt": {"overlay": {"lower": [*layers, str(tree)]}}}
    ran = caller.shell(spec, "ls -d /file-* | wc -l")
    if count > 41 and Host.probe().kernel < (6, 8):
        assert ran.error.startswith(f"$.mnt.overlay.lower: this kernel cannot merge {count} layers")
    else:
        assert ran.lines() == [str(count - 1)]


def test_an_overlay_keeps_its_changes_where_asked(caller: Caller, tree: Path, tmp_path: Path) -> None:
    kept = tmp_path / "ordinary-home" / "kept"
    lower = tmp_path / "ordinary-home" / "lower"
    (lower / "sub").mkdir(parents=True)
    (lower / "sub" / "gone").touch()
    for path in (lower, lower / "sub", lower / "sub" / "gone"):
        os.chown(path, caller.uid, caller.uid)
    spec = {"mnt": {"overlay": {"lower": [str(lower), str(tree)], "upper": str(kept)}}}
    assert caller.shell(spec, "echo first > /sub/new; rm /sub/gone").lines() == []
    assert (kept / "sub" / "new").read_text() == "first\n"
    assert (kept / "sub" / "new").stat().st_uid == caller.uid
    assert sorted(path.name for path in kept.parent.iterdir() if "work" in path.name) == []
    assert caller.shell(spec, "cat /sub/new; ls /sub").lines() == ["first", "new"]


def test_two_sandboxes_never_keep_changes_in_one_place(caller: Caller, tree: Path, tmp_path: Path) -> None:
    kept = tmp_path / "ordinary-home" / "kept"
    kept.mkdir()
    os.chown(kept, caller.uid, caller.uid)
    spec = {"mnt": {"overlay": {"lower": [str(tree)], "upper": str(kept)}}}
    held = os.open(kept, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        error = caller.shell(spec, "echo ran").error
    finally:
        os.close(held)
    assert "another sandbox keeps its changes there" in error
    assert "hint: wait for the other sandbox, or keep these changes in another directory" in error
    assert caller.shell(spec, "echo ran").lines() == ["ran"]


def test_an_empty_view_has_nothing_but_what_is_named(caller: Caller, tree: Path) -> None:
    mounts = [{"kind": "bind", "source": str(tree / "bin"), "target": "/bin"}]
    spec = {"mnt": {"view": "empty", "mounts": mounts}}
    lines = caller.shell(spec, "ls /; touch /x 2>/dev/null || echo refused").lines()
    assert lines == ["bin", "dev", "proc", "tmp", "refused"]


def test_a_debian_root_works(caller: Caller, debian_root: Path, as_user: OrdinaryUser) -> None:
    as_user.reach.append(debian_root)
    script = (
        "python3 -c 'import ssl, sqlite3; print(1 + 1)' && perl -e 'print 2, qq(\\n)' && "
        "dpkg -l 2>/dev/null | grep -c '^ii' && apt-get --version | head -n 1"
    )
    lines = caller.shell(of_directory(debian_root), script).lines()
    assert lines[:2] == ["2", "2"]
    assert int(lines[2]) > 50
    assert lines[3].startswith("apt ")
