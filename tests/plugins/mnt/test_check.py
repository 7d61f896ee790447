"""Every problem that the plugin finds, word for word, before anything runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.linux.host import Host
from nsjail_py.spec.mnt import (
    Bind,
    Directory,
    File,
    Mask,
    Mnt,
    Mqueue,
    Overlay,
    OverlayRoot,
    Proc,
    Root,
    Symlink,
    Sysfs,
    Tmpfs,
)
from nsjail_py.spec.namespaces import Ipc, Net, Pid
from nsjail_py_plugins import mnt
from nsjail_py_plugins.mnt.sensitive import reason
from tests.plugins.mnt.hosts import NEWER, ROOT, USER, spec


def problems(section: Mnt, host: Host = ROOT, **sections: Any) -> list[str]:
    return [str(problem) for problem in mnt.nsjail_check(spec(section, **sections), host)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with what every root has."""
    for name in ("dev", "proc", "tmp", "etc", "srv"):
        (tmp_path / "root" / name).mkdir(parents=True)
    return tmp_path / "root"


def test_the_default_has_no_problem() -> None:
    assert problems(Mnt()) == []
    assert problems(Mnt(), USER) == []


# -- roots ----------------------------------------------------------------------------------------------------------


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert problems(Mnt(root=Root(path=f"{tmp_path}/absent"))) == [
        f"$.mnt.root.path: {tmp_path}/absent does not exist\nhint: name a directory that exists"
    ]
    assert problems(Mnt(root=Root(path=f"{tmp_path}/file"))) == [
        f"$.mnt.root.path: {tmp_path}/file is not a directory\nhint: name a directory"
    ]


@pytest.mark.parametrize("path", ["/", "/proc", "/home"])
def test_a_root_that_is_the_host(path: str) -> None:
    assert problems(Mnt(root=Root(path=path)))[0] == (
        f"$.mnt.root.path: {path} as the root gives the sandbox the host\n"
        "hint: leave the root out to have the host's programs read-only"
    )


def test_two_roots(root: Path) -> None:
    section = Mnt(root=Root(path=str(root)), overlay=OverlayRoot(lower=(str(root),)))
    assert problems(section) == ["$.mnt.overlay: there is a root directory as well\nhint: give one of the two"]


def test_layers_that_are_not_there(root: Path) -> None:
    section = Mnt(overlay=OverlayRoot(lower=(str(root), "/absent"), upper="/absent/up", work="/else/absent/work"))
    assert problems(section) == [
        "$.mnt.overlay.lower[1]: /absent does not exist\nhint: name a directory that exists",
        "$.mnt.overlay.upper: /absent does not exist\nhint: name a directory that exists",
        "$.mnt.overlay.work: /else/absent does not exist\nhint: name a directory that exists",
    ]
    mounted = Mnt(mounts=(Overlay(target="/o", lower=("/absent",)),))
    assert problems(mounted)[0].startswith("$.mnt.mounts[0].lower[0]: /absent does not exist")


def test_a_layer_that_is_the_host(root: Path) -> None:
    assert problems(Mnt(overlay=OverlayRoot(lower=(str(root), "/")))) == [
        "$.mnt.overlay.lower[1]: / gives the sandbox control of the host\nhint: name a directory that holds less"
    ]


def test_a_work_directory_without_an_upper_one(root: Path) -> None:
    assert problems(Mnt(overlay=OverlayRoot(lower=(str(root),), work="/tmp/work"))) == [
        "$.mnt.overlay.work: without an upper directory there is nothing to work on\nhint: give upper too"
    ]


def test_more_layers_than_an_old_kernel_takes(root: Path) -> None:
    section = Mnt(overlay=OverlayRoot(lower=(str(root),) * 42))
    assert problems(section) == ["$.mnt.overlay.lower: this kernel cannot merge 42 layers\nhint: Linux 6.8 can"]
    assert problems(section, NEWER) == []


# -- sources --------------------------------------------------------------------------------------------------------


def test_a_bind_has_one_source() -> None:
    both = "$.mnt.mounts[0]: a bind has either a source or a descriptor\nhint: give source or fd"
    assert problems(Mnt(mounts=(Bind(target="/data"),))) == [both]
    assert problems(Mnt(mounts=(Bind(target="/data", source="/usr", fd=0),))) == [both]


def test_a_descriptor_needs_root_and_is_open() -> None:
    section = Mnt(mounts=(Bind(target="/data", fd=0),))
    assert problems(section) == []
    assert problems(section, USER) == ["$.mnt.mounts[0].fd: an ordinary user can bind by path alone\nhint: give source"]
    assert problems(Mnt(mounts=(Bind(target="/data", fd=9999),))) == [
        "$.mnt.mounts[0].fd: descriptor 9999 is not open\nhint: open it before, and keep it open"
    ]


def test_ids_are_shifted_for_root_alone() -> None:
    section = Mnt(mounts=(Bind(target="/data", source="/usr", idmap="yes"),))
    assert problems(section) == []
    assert problems(section, USER) == [
        "$.mnt.mounts[0].idmap: an ordinary user cannot shift ids\nhint: leave idmap out"
    ]


def test_a_source_that_is_not_there() -> None:
    assert problems(Mnt(mounts=(Bind(target="/data", source="/absent"),))) == [
        "$.mnt.mounts[0].source: /absent: No such file or directory\nhint: create it, or set optional"
    ]
    assert problems(Mnt(mounts=(Bind(target="/data", source="/absent", optional=True),))) == []


@pytest.mark.parametrize(
    "source",
    ["/", "/run", "/var", "/var/run", "/proc", "/sys", "/dev", "/home", "/root", "/proc/self", "/sys/kernel"],
)
def test_a_source_that_gives_the_host_away(source: str) -> None:
    assert problems(Mnt(mounts=(Bind(target="/data", source=source),))) == [
        f"$.mnt.mounts[0].source: {source} gives the sandbox control of the host\n"
        "hint: name less, or --bind-sensitive (sensitive = true)"
    ]
    assert problems(Mnt(mounts=(Bind(target="/data", source=source, sensitive=True),))) == []


def test_a_link_to_such_a_source(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/run")
    assert "gives the sandbox control" in problems(Mnt(mounts=(Bind(target="/d", source=f"{tmp_path}/link"),)))[0]


def test_a_whole_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "people" / "me"
    (home / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for path in (home, home.parent):
        assert problems(Mnt(mounts=(Bind(target="/d", source=str(path)),))) == [
            f"$.mnt.mounts[0].source: {path} is a whole home, with all its keys and tokens\n"
            "hint: name less, or --bind-sensitive (sensitive = true)"
        ]
    assert problems(Mnt(mounts=(Bind(target="/d", source=str(home / "project")),))) == []


def test_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert problems(Mnt(mounts=(Bind(target="/d", source=str(tmp_path / "s")),))) == [
            f"$.mnt.mounts[0].source: {tmp_path}/s is a socket: whoever connects to it acts outside the sandbox\n"
            "hint: name less, or --bind-sensitive (sensitive = true)"
        ]


def test_a_parent_of_a_control_socket() -> None:
    assert reason("/run/docker", socket=False) == "holds the control socket /run/docker/containerd/containerd.sock"
    assert reason("/var/lib/lxd", socket=False) == "holds the control socket /var/lib/lxd/unix.socket"
    for path in ("/run/systemd", "/run/dbus", "/run/user/1000", "/run/user/1000/podman/x"):
        assert reason(path, socket=False) == "gives the sandbox control of the host"
    for path in ("/run/lock", "/srv", "/usr", "/run/systemd-like", "/process", "/run/user/1000/app"):
        assert reason(path, socket=False) is None


# -- targets --------------------------------------------------------------------------------------------------------


def test_the_root_is_no_place_for_a_mount() -> None:
    assert problems(Mnt(mounts=(Tmpfs(target="/"),))) == [
        "$.mnt.mounts[0].target: the root is no place for a mount\nhint: use root, overlay or view"
    ]


def test_one_target_twice_however_it_is_written() -> None:
    section = Mnt(mounts=(Tmpfs(target="/a/b"), Tmpfs(target="/c"), Directory(target="/a//b/")))
    assert problems(section) == [
        "$.mnt.mounts[2].target: /a/b is already the target of mounts[0]\nhint: name each target once"
    ]


def test_targets_that_a_read_only_root_lacks(root: Path) -> None:
    (root / "tmp").rmdir()
    (root / "dev").rmdir()
    (root / "proc").rmdir()
    section = Mnt(
        root=Root(path=str(root)),
        mounts=(
            Tmpfs(target="/new"),
            File(target="/etc/f", content=""),
            Symlink(target="/l", to="x"),
            Mask(target="/m"),
        ),
    )
    lacks = f"does not exist in the read-only root {root}\nhint: create it there, "
    assert problems(section) == [
        f"$.mnt.proc: /proc {lacks}--proc off, --rw or --overlay",
        f"$.mnt.dev: /dev {lacks}--no-dev, --rw or --overlay",
        f"$.mnt.tmp: /tmp {lacks}set mnt.tmp to 0, --rw or --overlay",
        f"$.mnt.mounts[0].target: /new {lacks}--rw or --overlay",
        f"$.mnt.mounts[1].target: /etc/f {lacks}--rw or --overlay",
        "$.mnt.mounts[2].target: nothing can be made in a read-only root\nhint: make it there, --rw or --overlay",
    ]


def test_targets_are_made_where_that_is_possible(root: Path) -> None:
    (root / "dev").rmdir()
    mounts = (Tmpfs(target="/new"), Symlink(target="/l", to="x"), Tmpfs(target="/new/er"))
    assert problems(Mnt(root=Root(path=str(root), writable=True), mounts=mounts)) == []
    assert problems(Mnt(overlay=OverlayRoot(lower=(str(root),)), mounts=mounts)) == []
    assert problems(Mnt(mounts=mounts)) == []


def test_a_target_in_a_mount_of_the_spec_is_not_in_the_root(root: Path) -> None:
    mounts = (Tmpfs(target="/srv"), Tmpfs(target="/srv/a"), Symlink(target="/tmp/l", to="x"), Tmpfs(target="/dev/m"))
    assert problems(Mnt(root=Root(path=str(root)), mounts=mounts)) == []


def test_a_target_through_a_link_out_of_the_root(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "absolute").symlink_to(outside)
    (root / "climbing").symlink_to("../outside")
    section = Mnt(
        root=Root(path=str(root), writable=True), mounts=(Tmpfs(target="/absolute/x"), Tmpfs(target="/climbing"))
    )
    assert problems(section) == [
        f"$.mnt.mounts[0].target: /absolute/x goes through the symbolic link /absolute -> {outside}, which leads out "
        "of the root\nhint: name the place itself, or mend the link",
        "$.mnt.mounts[1].target: /climbing goes through the symbolic link /climbing -> ../outside, which leads out of "
        "the root\nhint: name the place itself, or mend the link",
    ]


def test_a_default_mount_never_goes_over_a_link(root: Path) -> None:
    (root / "proc").rmdir()
    (root / "proc").symlink_to("etc")
    assert problems(Mnt(root=Root(path=str(root)))) == [
        "$.mnt.proc: /proc of the root is a symbolic link\nhint: make it a directory"
    ]


# -- namespaces -----------------------------------------------------------------------------------------------------


def test_file_systems_of_namespaces_that_are_not_the_sandboxs_own() -> None:
    section = Mnt(mounts=(Proc(target="/p"), Sysfs(target="/sys"), Mqueue(target="/q")))
    away = {"pid": Pid(mode="off"), "net": Net(mode="host"), "ipc": Ipc(mode="off")}
    assert problems(section) == []
    procfs = (
        "procfs shows a pid namespace, and the sandbox has none of its own\n"
        'hint: set pid.mode to on, or mnt.proc to "try" to show the caller\'s processes, or to false'
    )
    assert problems(section, **away) == [
        f"$.mnt.mounts[0]: {procfs}",
        "$.mnt.mounts[1]: sysfs shows a network namespace, and the sandbox has none of its own\n"
        "hint: set net.mode to loopback",
        "$.mnt.mounts[2]: mqueue shows an ipc namespace, and the sandbox has none of its own\nhint: set ipc.mode to on",
        f"$.mnt.proc: {procfs}",
    ]


@pytest.mark.parametrize("mode", ["off", "pid:1"])
def test_mounts_need_a_mount_namespace(mode: str) -> None:
    assert problems(Mnt(mode=mode, mounts=(Tmpfs(target="/t"),))) == [
        f"$.mnt.mode: {mode}: a root and mounts need a mount namespace of the sandbox's own\n"
        "hint: set mnt.mode to on, or leave out root, overlay and mounts"
    ]
    assert problems(Mnt(mode=mode)) == []


def test_all_problems_are_found_at_once(root: Path) -> None:
    section = Mnt(
        root=Root(path=str(root)),
        mounts=(Bind(target="/srv", source="/absent"), Bind(target="/srv", source="/run"), Tmpfs(target="/absent")),
    )
    assert len(problems(section)) == 4
    assert os.listdir(root / "srv") == []
