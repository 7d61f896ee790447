"""One success and one failure of each opcode for files. The root slot is the test's own directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tests.stage.blob import Argument, Out, Slot, Step, step
from tests.stage.kernel import RESOLVE_BENEATH
from tests.stage.running import EXTRA, Finished, Launcher, descriptors, execute, opened, shell

Case = Callable[[Launcher, Path], None]
ROOT = Slot(EXTRA)


def in_root(launcher: Launcher, root: Path, *steps: Step) -> Finished:
    """Carry out steps whose root slot is a directory, then print a word."""
    with opened(root, os.O_PATH) as fd:
        return launcher.run([*steps, *shell("echo ran")], extra=[fd])


def open_(launcher: Launcher, tmp: Path) -> None:
    (tmp / "file").write_text("contents")
    plan = [
        step("OPEN", ROOT, "file", os.O_RDONLY, RESOLVE_BENEATH, Out(20)),
        descriptors((20, 0), (4, 1), (5, 2)),
        execute("/bin/cat"),
    ]
    with opened(tmp, os.O_PATH) as fd:
        assert launcher.run(plan, extra=[fd]).succeeded().output == "contents"


def open_fails(launcher: Launcher, tmp: Path) -> None:
    above = step("OPEN", ROOT, "..", os.O_RDONLY, RESOLVE_BENEATH, Out(20))
    in_root(launcher, tmp, above).failed(errno.EXDEV)


def write(launcher: Launcher, tmp: Path) -> None:
    with opened(tmp / "file", os.O_WRONLY | os.O_CREAT) as fd:
        launcher.run([step("WRITE", ROOT, b"0\n"), *shell(":")], extra=[fd]).succeeded()
    assert (tmp / "file").read_text() == "0\n"


def write_fails(launcher: Launcher, tmp: Path) -> None:
    in_root(launcher, tmp, step("WRITE", ROOT, b"0\n")).failed(errno.EBADF)


def write_file(launcher: Launcher, tmp: Path) -> None:
    (tmp / "file").write_text("before")
    in_root(launcher, tmp, step("WRITE_FILE", str(tmp / "file"), b"after")).succeeded()
    assert (tmp / "file").read_text() == "aftere", "written over, not cut off, as a control file is"


def write_file_fails(launcher: Launcher, tmp: Path) -> None:
    in_root(launcher, tmp, step("WRITE_FILE", str(tmp / "file"), b"x")).failed(errno.ENOENT, at="TARGET")
    assert not (tmp / "file").exists()


def mkdir(launcher: Launcher, tmp: Path) -> None:
    old = os.umask(0o077)
    try:
        twice = [step("MKDIR", ROOT, "/a/b/c", 0o1777), step("MKDIR", ROOT, "a/b/c", 0o700)]
        in_root(launcher, tmp, *twice).succeeded()
    finally:
        os.umask(old)
    assert (tmp / "a/b").stat().st_mode == 0o040755, "parents whatever the umask"
    assert (tmp / "a/b/c").stat().st_mode == 0o041777, "an existing directory stays as it is"


def mkdir_fails(launcher: Launcher, tmp: Path) -> None:
    (tmp / "file").touch()
    in_root(launcher, tmp, step("MKDIR", ROOT, "file/below", 0o755)).failed(errno.ENOTDIR, at="TARGET")


def symlink(launcher: Launcher, tmp: Path) -> None:
    in_root(launcher, tmp, step("SYMLINK", ROOT, "etc/deep/link", "../anywhere")).succeeded()
    assert (tmp / "etc/deep/link").readlink() == Path("../anywhere")


def symlink_fails(launcher: Launcher, tmp: Path) -> None:
    (tmp / "there").touch()
    in_root(launcher, tmp, step("SYMLINK", ROOT, "there", "x")).failed(errno.EEXIST)


def file(launcher: Launcher, tmp: Path) -> None:
    big = bytes(range(256)) * 1000
    in_root(launcher, tmp, step("FILE", ROOT, "etc/file", big, 0o666)).succeeded()
    assert (tmp / "etc/file").read_bytes() == big
    assert (tmp / "etc/file").stat().st_mode == 0o100666


def file_fails(launcher: Launcher, tmp: Path) -> None:
    victim = tmp / "victim"
    (tmp / "link").symlink_to(victim)
    in_root(launcher, tmp, step("FILE", ROOT, "link", b"x", 0o644)).failed(errno.EEXIST, at="TARGET")
    assert not victim.exists()


def _owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def chown(launcher: Launcher, tmp: Path) -> None:
    (tmp / "file").touch()
    (tmp / "link").symlink_to("file")
    in_root(launcher, tmp, step("CHOWN", ROOT, "link", 1234, 5678)).succeeded()
    assert _owner(tmp / "link") == (1234, 5678)
    assert _owner(tmp / "file") == (os.getuid(), os.getgid()), "the link itself, not what it names"


def chown_fails(launcher: Launcher, tmp: Path) -> None:
    missing: tuple[Argument, ...] = (ROOT, "missing", 1, 1)
    in_root(launcher, tmp, step("CHOWN", *missing)).failed(errno.ENOENT, at="TARGET")


PASSING: dict[str, Case] = {
    "OPEN": open_, "WRITE": write, "WRITE_FILE": write_file, "MKDIR": mkdir, "SYMLINK": symlink, "FILE": file,
    "CHOWN": chown,
}  # fmt: skip
FAILING: dict[str, Case] = {
    "OPEN": open_fails, "WRITE": write_fails, "WRITE_FILE": write_file_fails, "MKDIR": mkdir_fails,
    "SYMLINK": symlink_fails, "FILE": file_fails, "CHOWN": chown_fails,
}  # fmt: skip
