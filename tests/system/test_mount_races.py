"""What somebody else does to the files while a sandbox is being set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from nsjail_py import Sandbox, SandboxSpec, SetupError
from nsjail_py.spec.mnt import Bind, Directory, File, Mnt, Root, Tmpfs

FLIPS = 10_000


class Flipper(threading.Thread):
    """Turns a path into a link, into a directory and back, as fast as it can, until it has done so often enough."""

    def __init__(self, path: Path, link: str) -> None:
        super().__init__()
        self.path, self.link = path, link

    def run(self) -> None:
        old = self.path.with_name("old")
        old.mkdir()
        for number in range(FLIPS):
            # something may have been made in it by now
            self.path.rename(old / str(number))
            with suppress(FileExistsError):
                self.path.symlink_to(self.link)
                self.path.unlink()
            self.path.mkdir(exist_ok=True)


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("link", ["absolute", "climbing"])
def test_a_target_that_flips_never_leads_out_of_the_root(tmp_path: Path, busybox_root: Path, link: str) -> None:
    """CVE-2021-30465, CVE-2024-45310: the target is a directory when it is looked at, and a link when it is used."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    shutil.copytree(busybox_root, root, symlinks=True)
    outside.mkdir()
    (root / "flip").mkdir()
    target = str(outside) if link == "absolute" else f"../../../../../../../..{outside}"
    section = Mnt(
        root=Root(path=str(root), writable=True),
        mounts=(Tmpfs(target="/flip/tmpfs"), File(target="/flip/file", content="x"), Directory(target="/flip/made")),
    )
    sandbox = Sandbox(SandboxSpec(mnt=section))
    before = Path("/proc/self/mountinfo").read_text()
    flipper = Flipper(root / "flip", target)
    flipper.start()
    owners = []
    try:
        while flipper.is_alive():
            try:
                sandbox.run(["true"])
                owners.append("nobody")
            except SetupError as error:
                owners.append(error.owner)
            assert list(outside.iterdir()) == []
    finally:
        flipper.join()
    assert len(os.listdir(root / "old")) == FLIPS
    assert len(owners) > 10
    assert set(owners) <= {"nobody", "mnt"}
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.root
def test_a_source_that_flips_is_one_of_the_two(tmp_path: Path) -> None:
    """CVE-2024-42472: what is mounted is what was opened, whole, and never a sensitive directory."""
    good = tmp_path / "good"
    good.mkdir()
    (good / "mark").touch()
    source = tmp_path / "source"
    source.mkdir()
    sandbox = Sandbox(SandboxSpec(mnt=Mnt(mounts=(Bind(source=str(source), target="/data"),))))
    seen = set()
    for number in range(60):
        source.rmdir() if source.is_dir() and not source.is_symlink() else source.unlink()
        source.symlink_to("/run" if number % 2 else str(good))
        try:
            seen.add(sandbox.run(["ls", "/data"], capture_output=True, text=True).stdout)
        except SetupError as error:
            seen.add(str(error.errno))
    assert seen == {"mark\n", "1"}


_WITH_COVERED_PROC = """
import sys
from nsjail_py import Sandbox, SandboxError, SandboxSpec
from nsjail_py.spec.mnt import Mnt

for proc in (True, "try"):
    try:
        script = "echo /proc/irq/*; grep -c ' /proc ' /proc/self/mountinfo"
        result = Sandbox(SandboxSpec(mnt=Mnt(proc=proc))).run(["/bin/sh", "-c", script], capture_output=True, text=True)
        print(result.stdout, end="")
        print(*result.warnings, sep="\\n")
    except SandboxError as error:
        print(error)
"""


@pytest.mark.root
def test_procfs_that_is_partly_covered_is_explained_and_can_be_done_without() -> None:
    """As in most containers: the kernel gives no new procfs to who sees only part of the old one."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc/irq && exec "$0" -c "$1"', sys.executable]
        + [_WITH_COVERED_PROC],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == ""
    refused, hint, listing, mounts, *warnings = done.stdout.splitlines()
    assert refused.startswith("mnt: new proc: Operation not permitted [MOUNT, step ")
    assert hint.startswith("hint: the kernel refuses a new proc where the one on /proc is partly covered")
    assert (listing, mounts) == ("/proc/irq/*", "1")
    assert warnings == ["mnt: new proc: Operation not permitted"]
