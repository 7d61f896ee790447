"""Sandboxes on another kernel than this machine's, where control groups of version 2 are the only ones.

Few and broad: the machine is emulated. What is here is what the kernel decides.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nsjail_py import ExitReason, Sandbox, run
from nsjail_py.spec.mnt import Bind
from tests.conftest import OrdinaryUser

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.usefixtures("leaks")]

NAMESPACES = ("user", "pid", "mnt", "uts", "ipc", "net", "cgroup")


def test_the_machine_is_what_it_says() -> None:
    assert os.uname().release.startswith("6.1.")
    assert Path("/proc/self/cgroup").read_text() == "0::/\n"
    assert {"cpu", "memory", "pids", "io"} <= set(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())


def test_every_namespace_is_new() -> None:
    script = f"for n in {' '.join(NAMESPACES)}; do readlink /proc/self/ns/$n; done"
    inside = run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES]
    assert [link.split(":")[0] for link in inside] == list(NAMESPACES)
    assert not set(inside) & set(outside)


def test_the_group_looks_like_the_root_of_its_tree() -> None:
    assert run(["cat", "/proc/self/cgroup"], capture_output=True, text=True, check=True).stdout == "0::/\n"


def test_a_root_directory_is_native_and_read_only(busybox_root: Path) -> None:
    script = "id -u; stat -c %u /bin/busybox; touch /new; echo $?"
    done = run(["sh", "-c", script], rootfs=busybox_root, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n0\n1\n"
    assert "Read-only file system" in done.stderr


def test_what_is_written_into_a_bind_belongs_to_the_caller(tmp_path: Path) -> None:
    mounts = [Bind(source=str(tmp_path), target="/data", writable=True)]
    run(["sh", "-c", "echo new >/data/file"], mounts=mounts, capture_output=True, check=True)
    assert (tmp_path / "file").read_text() == "new\n"
    assert (tmp_path / "file").stat().st_uid == os.getuid()


def test_a_timeout_holds_against_all_that_was_started() -> None:
    script = "trap '' TERM; sleep 1000 & setsid sleep 1000 & sleep 1000"
    assert run(["sh", "-c", script], timeout=2, capture_output=True).reason is ExitReason.TIMED_OUT


def test_a_python_of_this_environment_runs() -> None:
    done = Sandbox(hostname="box").run(
        [sys.executable, "-c", "import os, sys; print(os.uname().nodename, sys.prefix)"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"box {sys.prefix}\n", "")


def test_an_ordinary_user_has_sandboxes_too(as_user: OrdinaryUser) -> None:
    script = (
        "from nsjail_py import run\n"
        "script = 'id -u; cat /proc/self/uid_map; cat /proc/self/cgroup; ls -d /sys/fs/cgroup 2>&1'\n"
        "print(run(['sh', '-c', script], capture_output=True, text=True).stdout)"
    )
    lines = as_user.python(script).splitlines()
    assert lines[0] == str(as_user.uid)
    assert lines[1].split() == [str(as_user.uid), str(as_user.uid), "1"]
    assert lines[2] == "0::/"


def test_doctor_finds_nothing_missing(as_user: OrdinaryUser) -> None:
    done = as_user.run([sys.executable, "-m", "nsjail_py.cli", "doctor"])
    namespaces = [line for line in done.stdout.splitlines() if "namespace: can be made" in line]
    assert len(namespaces) >= len(NAMESPACES), done.stdout + done.stderr
