"""openat2, close_range and sealed memory files."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux import files


def test_openat2_stays_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/passwd")
    root = os.open(tmp_path, os.O_PATH)
    fd = files.openat2("link", c.O_RDONLY, directory=root, resolve=c.RESOLVE_IN_ROOT)
    assert os.read(fd, 100) == b"inside"
    assert not os.get_inheritable(fd)
    os.close(fd)
    with pytest.raises(OSError, match="openat2: Invalid cross-device link: 'link'") as caught:
        files.openat2("link", c.O_RDONLY, directory=root, resolve=c.RESOLVE_BENEATH)
    assert caught.value.errno == errno.EXDEV
    os.close(root)


def test_openat2_makes_a_file(tmp_path: Path) -> None:
    os.close(files.openat2(tmp_path / "new", c.O_CREAT | c.O_WRONLY, mode=0o640))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640 & ~os.umask(os.umask(0o22))


def test_close_range_closes_or_marks() -> None:
    first = fcntl.fcntl(0, fcntl.F_DUPFD, 900)
    second = fcntl.fcntl(0, fcntl.F_DUPFD, first)
    files.close_range(first, second, c.CLOSE_RANGE_CLOEXEC)
    assert fcntl.fcntl(second, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    files.close_range(first, second)
    for fd in (first, second):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    with pytest.raises(OSError, match="close_range: Invalid argument"):
        files.close_range(2, 1)


@pytest.mark.parametrize("executable", [False, True])
@pytest.mark.parametrize("data", [b"xy", b"x" * 100_000])
def test_a_sealed_file_cannot_change(executable: bool, data: bytes) -> None:
    fd = files.sealed_memfd("name", data, executable=executable)
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:name")
    assert os.pread(fd, len(data) + 1, 0) == data
    assert not os.get_inheritable(fd)
    for change in (lambda: os.pwrite(fd, b"y", 0), lambda: os.truncate(fd, 1), lambda: os.truncate(fd, 1 << 20)):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(PermissionError):
        mmap.mmap(fd, 1)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, c.F_ADD_SEALS, c.F_SEAL_WRITE)
    assert bool(os.fstat(fd).st_mode & 0o111) == executable
    os.close(fd)


def test_a_sealed_copy_of_a_program_runs(tmp_path: Path) -> None:
    fd = files.sealed_executable("/bin/true")
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:true")
    assert subprocess.run([f"/proc/{os.getpid()}/fd/{fd}"]).returncode == 0
    os.close(fd)
    with pytest.raises(FileNotFoundError):
        files.sealed_executable(tmp_path / "missing")


def test_a_program_on_a_read_only_mount_of_its_own(inside: Callable[[str], str]) -> None:
    inside(
        """
with open(f"{sys.argv[1]}/program", "w") as file:
    file.write("#!/bin/sh\\n")
os.chmod(file.name, 0o755)
fd = files.read_only_clone(file.name)
raises(errno.EROFS, os.open, f"/proc/self/fd/{fd}", os.O_WRONLY)
os.close(os.open(file.name, os.O_WRONLY))  # the file itself is as it was
assert raises(errno.ENOENT, files.read_only_clone, "/missing").startswith("[Errno 2] open_tree:")
"""
    )
