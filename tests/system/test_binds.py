"""Real binds: who may read, who owns what is written, and what cannot be undone from inside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import Sandbox, SandboxSpec, SetupError
from nsjail_py.spec.mnt import Bind, Mnt
from tests.system.callers import Caller


def bind(source: Path | str, target: str = "/data", **more: Any) -> dict[str, Any]:
    return {"mnt": {"mounts": [{"kind": "bind", "source": str(source), "target": target, **more}]}}


@pytest.fixture
def folder(tmp_path: Path, caller: Caller) -> Path:
    """A directory of the caller's, below one of mode 0700 that is its own."""
    made = tmp_path / "ordinary-home" / "folder"
    made.mkdir()
    (made / "file").write_text("there\n")
    for path in (made.parent, made, made / "file"):
        os.chown(path, caller.uid, caller.uid)
    return made


def test_a_bind_below_a_closed_directory_is_read_only(caller: Caller, folder: Path) -> None:
    lines = caller.shell(bind(folder), "cat /data/file; touch /data/new 2>&1 | grep -o 'Read-only.*'").lines()
    assert lines == ["there", "Read-only file system"]


def test_without_a_bind_nothing_of_the_caller_is_there(caller: Caller, folder: Path) -> None:
    assert caller.shell({}, f"ls {folder} 2>/dev/null; for d in ~ /tmp /run; do ls -A $d; done").lines() == []


def test_what_is_written_into_a_bind_belongs_to_the_caller(caller: Caller, folder: Path) -> None:
    script = "echo new > /data/new; mkdir /data/sub; stat -c %u /data/file /data/new; id -u"
    inside = caller.shell(bind(folder, writable=True), script).lines()
    assert len(set(inside)) == 1
    assert [(folder / name).stat().st_uid for name in ("new", "sub")] == [caller.uid, caller.uid]


@pytest.mark.root
@pytest.mark.parametrize("user", ["0", "7:8", "1000"])
def test_whoever_the_payload_is_writes_as_the_caller(as_root: Caller, tmp_path: Path, user: str) -> None:
    spec = bind(tmp_path, writable=True) | {"process": {"user": user}}
    assert as_root.shell(spec, "echo mine > /data/new; stat -c %u /data/new").lines() == [user.partition(":")[0]]
    assert ((tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_gid) == (0, 0)


@pytest.mark.root
def test_a_writable_bind_keeps_the_owners_of_others_apart(as_root: Caller, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("secret")
    os.chown(tmp_path / "theirs", 4321, 4321)
    (tmp_path / "theirs").chmod(0o600)
    lines = as_root.shell(bind(tmp_path, writable=True), "stat -c %U /data/theirs; cat /data/theirs || true").out
    assert lines == "nobody\n"


@pytest.mark.root
def test_ids_are_shifted_only_where_that_was_asked(as_root: Caller, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("mine\n")
    (tmp_path / "private").chmod(0o600)
    assert as_root.shell(bind(tmp_path, idmap="yes"), "cat /data/private").lines() == ["mine"]
    assert as_root.shell(bind(tmp_path), "cat /data/private 2>&1").code == 1
    refused = as_root.shell(bind(tmp_path, writable=True, idmap="no"), "touch /data/new 2>&1")
    assert refused.code == 1
    assert not (tmp_path / "new").exists()


def test_a_file_is_bound_onto_a_file(caller: Caller, folder: Path) -> None:
    assert caller.shell(bind(folder / "file", "/etc/motd"), "cat /etc/motd").lines() == ["there"]


def test_an_absent_source_is_left_out_where_that_is_said(caller: Caller) -> None:
    ran = caller.shell(bind("/absent/source", optional=True), "ls -d /data 2>/dev/null || echo not there")
    assert ran.lines() == ["not there"]
    assert ran.warnings == ()


def test_an_absent_source_is_an_error_before_anything_runs(caller: Caller) -> None:
    error = caller.shell(bind("/absent/source"), "echo ran").error
    assert error == (
        "$.mnt.mounts[0].source: /absent/source: No such file or directory\nhint: create it, or set optional"
    )


def test_no_bind_has_devices_or_set_user_id(caller: Caller, folder: Path) -> None:
    script = """awk '$5 == "/data" { print $6 }' /proc/self/mountinfo"""
    [options] = caller.shell(bind(folder, writable=True), script).lines()
    assert options.split(",")[:3] == ["rw", "nosuid", "nodev"]


def test_every_sensitive_source_needs_a_word(caller: Caller, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        os.chmod(folder / "socket", 0o777)
        error = caller.shell(bind(folder / "socket", "/socket"), "echo ran").error
        assert "is a socket: whoever connects to it acts outside the sandbox" in error
        assert "hint: name less, or --bind-sensitive (sensitive = true)" in error
        spec = bind(folder / "socket", "/socket", sensitive=True)
        assert caller.shell(spec, "stat -c %F /socket").lines() == ["socket"]


@pytest.mark.parametrize("source", ["/", "/run", "/var/run", "/proc", "/sys", "/dev", "/home", "/proc/self", "/sys/fs"])
def test_what_gives_the_host_away_is_refused(caller: Caller, source: str) -> None:
    assert "gives the sandbox control of the host" in caller.shell(bind(source), "echo ran").error


_LOOK_AT_NESTED_MOUNTS = """
import sys
from nsjail_py import SandboxSpec, run
from nsjail_py.spec.mnt import Bind, Mnt

spec = SandboxSpec(mnt=Mnt(mounts=(Bind(source=sys.argv[1], target="/data"),)))
script = "grep ' /data' /proc/self/mountinfo; touch /data/x /data/two/x /data/two/three/x && echo wrote"
print(run(["/bin/sh", "-c", script], spec=spec, capture_output=True, text=True).stdout)
"""


@pytest.mark.root
def test_nested_mounts_keep_their_own_restrictions(tmp_path: Path) -> None:
    """Three mounts in one another; all of them come read-only, with the flags that they have."""
    outer = tmp_path / "one"
    outer.mkdir()
    mounting = (
        f"mount -t tmpfs -o noexec,nosuid one {outer} && mkdir {outer}/two && "
        f"mount -t tmpfs -o nodev two {outer}/two && mkdir {outer}/two/three && "
        f"mount -t tmpfs -o ro three {outer}/two/three && exec $0 {tmp_path}/inner.py {outer}"
    )
    (tmp_path / "inner.py").write_text(_LOOK_AT_NESTED_MOUNTS)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounting, sys.executable],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = {line.split()[4]: set(line.split()[5].split(",")) for line in done.stdout.strip().splitlines()}
    assert found["/data"] >= {"ro", "nosuid", "nodev", "noexec"}
    assert found["/data/two"] >= {"ro", "nosuid", "nodev"}
    assert found["/data/two/three"] >= {"ro", "nosuid", "nodev"}
    assert len(found) == 3


@pytest.mark.root
def test_a_descriptor_is_a_source(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("by descriptor\n")
    fd = os.open(source, os.O_PATH)
    try:
        spec = SandboxSpec(mnt=Mnt(mounts=(Bind(fd=fd, target="/data"),)))
        # the name may go, the directory stays the one that was opened
        source.rename(tmp_path / "elsewhere")
        result = Sandbox(spec).run(["cat", "/data/file"], capture_output=True, text=True)
    finally:
        os.close(fd)
    assert result.stdout == "by descriptor\n"


@pytest.mark.root
def test_a_source_that_has_become_a_sensitive_one_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sandbox = Sandbox(SandboxSpec(mnt=Mnt(mounts=(Bind(source=str(source), target="/data"),))))
    source.rmdir()
    source.symlink_to("/run")
    with pytest.raises(SetupError, match=r"clone .*/source.*has become a link to /run"):
        sandbox.run(["true"])


def test_a_target_never_leaves_the_root(caller: Caller, folder: Path, tmp_path: Path) -> None:
    """A link in a writable bind that the sandbox mounts below leads nowhere but to the sandbox's own root."""
    outside = tmp_path / "ordinary-home" / "outside"
    outside.mkdir()
    os.chown(outside, caller.uid, caller.uid)
    (folder / "link").symlink_to(outside)
    spec = bind(folder, writable=True)
    spec["mnt"]["mounts"].append({"kind": "tmpfs", "target": "/data/link/made"})
    caller.shell(spec, "true")
    assert list(outside.iterdir()) == []


def test_mounts_inside_are_not_the_hosts(caller: Caller, folder: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    spec = bind(folder, "/data") | {}
    spec["mnt"]["mounts"].append({"kind": "tmpfs", "target": "/more"})
    assert caller.shell(spec, "grep -c ' /more ' /proc/self/mountinfo").lines() == ["1"]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_remount_from_inside_is_refused(caller: Caller, folder: Path) -> None:
    script = "mount -o remount,bind,rw /data; umount /data; mount -t tmpfs x /tmp; echo end"
    ran = caller.shell(bind(folder) | {"process": {"user": "0"}}, script)
    assert ran.out == "end\n"
    assert ran.err.count("\n") >= 3
