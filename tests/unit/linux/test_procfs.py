"""What /proc says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux import process, procfs, rlimits
from tests.unit.linux.children import run_script


def test_status_and_parent_and_children() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert procfs.status(child.pid)["PPid"] == str(os.getpid())
    assert procfs.parent(child.pid) == os.getpid()
    assert child.pid in procfs.children(os.getpid())
    child.communicate(b"\n")
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        procfs.status(child.pid)
    with pytest.raises(FileNotFoundError):
        procfs.parent(child.pid)
    with pytest.raises(FileNotFoundError):
        procfs.children(child.pid)


def test_start_times_tell_processes_apart() -> None:
    assert procfs.start_time(os.getpid()) >= procfs.start_time(1)
    assert procfs.start_time(os.getpid()) == procfs.start_time(os.getpid()) > 0


def test_a_process_whose_name_looks_like_fields() -> None:
    said = run_script(
        """
import os
from nsjail_py.linux import procfs
with open("/proc/self/comm", "w") as file:
    file.write("x) R 1 (y")
print(procfs.parent(os.getpid()), procfs.status()["Name"])
"""
    )
    assert said == f"{os.getpid()} x) R 1 (y\n"


def test_boot_id() -> None:
    assert procfs.boot_id() == procfs.boot_id()
    assert len(procfs.boot_id()) == 36


def test_a_setting_that_does_not_exist() -> None:
    assert procfs.sysctl("kernel/no_such_setting") is None


def test_limits_are_read_and_changed() -> None:
    import resource

    assert rlimits.prlimit(c.RLIMIT_NOFILE) == resource.getrlimit(resource.RLIMIT_NOFILE)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    before = rlimits.prlimit(c.RLIMIT_NOFILE, (20, 30), pid=child.pid)
    assert rlimits.prlimit(c.RLIMIT_NOFILE, pid=child.pid) == (20, 30)
    assert before[1] > 30
    child.communicate(b"\n")


def test_limits_that_make_no_sense() -> None:
    with pytest.raises(OSError, match="prlimit: Invalid argument"):
        rlimits.prlimit(c.RLIMIT_NOFILE, (30, 20))
    with pytest.raises(OSError, match="prlimit: Invalid argument"):
        rlimits.prlimit(999)


def test_limits_have_the_names_of_the_standard_library() -> None:
    import resource

    for name, number in rlimits.NUMBERS.items():
        if name != "locks":  # which Linux ignores since 2.4.25, and Python leaves out
            assert getattr(resource, f"RLIMIT_{name.upper()}") == number
    assert rlimits.INFINITY == 2**64 - 1


def test_the_process_behind_a_descriptor() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pidfd = process.pidfd_open(child.pid)
    assert procfs.pid_of_pidfd(pidfd) == child.pid
    child.communicate(b"\n")
    assert procfs.pid_of_pidfd(pidfd) is None
    os.close(pidfd)
