"""Targets inside a root: whatever the tree looks like, or turns into meanwhile, nothing outside is touched."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stage.blob import Out, Slot, Step, const, step
from tests.stage.kernel import NEWNS, OPEN_TREE_CLONE
from tests.stage.running import Finished, Launcher, shell

pytestmark = pytest.mark.root

ROOT = Slot(30)
MKDIR, MKFILE = const("ATTACH_MKDIR"), const("ATTACH_MKFILE")


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path]:
    """(a root, a directory outside of it)"""
    for name in ("root", "outside"):
        (tmp_path / name).mkdir()
    return tmp_path / "root", tmp_path / "outside"


def carry_out(launcher: Launcher, root: Path, *steps: Step, then: str = ":") -> Finished:
    """The root is opened by the stage: only what is of its own mount namespace can be mounted on."""
    own = step("OPEN", None, str(root), os.O_PATH, 0, Out(30))
    return launcher.run([own, *steps, *shell(then)], namespaces=NEWNS)


def attach(target: str, source: str, flags: int) -> list[Step]:
    return [step("OPEN_TREE", None, source, OPEN_TREE_CLONE, Out(20)), step("ATTACH", ROOT, Slot(20), target, flags)]


#: a path, what a link in the way says, and where the result must be
LINKS = {
    "absolute": ("link/new", "/", "new"),
    "upwards": ("link/new", "../../../..", "new"),
    "upwards in the path": ("../../a/../../new", None, "new"),
    "to a directory inside": ("link/new", "/inside/deep", "inside/deep/new"),
    "chain": ("link/new", "inside/chain", "inside/deep/new"),
}


@pytest.mark.parametrize("what", LINKS)
def test_links_lead_nowhere_else(what: str, launcher: Launcher, tree: tuple[Path, Path]) -> None:
    root, outside = tree
    path, link, result = LINKS[what]
    (root / "inside/deep").mkdir(parents=True)
    (root / "inside/chain").symlink_to("/inside/deep")
    (root / "a").mkdir()
    if link is not None:
        (root / "link").symlink_to(link)
    carry_out(launcher, root, step("FILE", ROOT, path, b"text", 0o644)).succeeded()
    assert (root / result).read_text() == "text"
    assert not list(outside.iterdir())


def test_links_that_dangle_are_not_made(launcher: Launcher, tree: tuple[Path, Path]) -> None:
    """Neither the last component nor one on the way: making what a link names would be following it."""
    root, outside = tree
    (root / "link").symlink_to(outside / "made")
    failed = carry_out(launcher, root, *attach("link", "/usr", MKDIR)).failed(errno.ENOENT, at="TARGET")
    assert failed.step == 2
    carry_out(launcher, root, step("MKDIR", ROOT, "link/below", 0o755)).failed(errno.ENOENT, at="TARGET")
    carry_out(launcher, root, *attach("link", "/etc/hostname", MKFILE)).failed(errno.ENOENT, at="TARGET")
    assert not list(outside.iterdir())
    assert os.listdir(root) == ["link"]


def test_magic_links_are_refused(launcher: Launcher, tree: tuple[Path, Path]) -> None:
    """A root with a procfs: its links jump without a path."""
    root, _ = tree
    (root / "proc").mkdir()
    proc = [step("NEW_FS", "proc", [], 0, Out(21)), step("ATTACH", ROOT, Slot(21), "proc", 0)]
    target = f"proc/self/fd/{64 + 30}/made"
    carry_out(launcher, root, *proc, step("MKDIR", ROOT, target, 0o755)).failed(errno.ELOOP, at="TARGET")


def test_names_that_are_too_long(launcher: Launcher, tree: tuple[Path, Path]) -> None:
    root, _ = tree
    longest = "/".join(["n" * 255] * 15 + ["m" * 254])  # PATH_MAX with its end is 4096
    assert len(longest) == 4094
    carry_out(launcher, root, step("MKDIR", ROOT, longest, 0o755)).succeeded()
    carry_out(launcher, root, step("FILE", ROOT, longest + "xx", b"", 0o644)).failed(errno.ENAMETOOLONG, at="TARGET")


def test_nothing_to_make(launcher: Launcher, tree: tuple[Path, Path]) -> None:
    root, _ = tree
    carry_out(launcher, root, step("MKDIR", ROOT, "/", 0o755)).succeeded()
    carry_out(launcher, root, step("FILE", ROOT, "etc/", b"", 0o644)).failed(errno.EISDIR, at="TARGET")


# -- races --------------------------------------------------------------------------------------------------------

RENAME_EXCHANGE, AT_FDCWD = 2, -100
FLIPS = 10_000


@contextmanager
def flipping(one: Path, other: Path) -> Iterator[list[int]]:
    """Exchange two names all the time; gives the number of times, which is large enough once the block is left."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    done, flips = threading.Event(), [0]

    def flip() -> None:
        while flips[0] < FLIPS or not done.is_set():
            assert renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) == 0
            flips[0] += 1

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield flips
    finally:
        done.set()
        thread.join()


def test_target_that_flips_between_directory_and_link(launcher: Launcher, tree: tuple[Path, Path]) -> None:
    """CVE-2021-30465. What is mounted is seen by the payload; what is made, by this test."""
    root, outside = tree
    (root / "target").mkdir()
    (root / "decoy").symlink_to(outside)
    steps = [
        *attach("target/mount", "/usr/share", MKDIR),
        step("MKDIR", ROOT, "target/made/deep", 0o755, optional=True),
        step("FILE", ROOT, "target/file", b"", 0o644, optional=True),
        step("CHOWN", ROOT, "target", 1234, 1234, optional=True),
    ]
    reached = 0
    with flipping(root / "target", root / "decoy") as flips:
        for _ in range(60):
            done = carry_out(launcher, root, *steps, then=f"grep -c ' {outside}' /proc/self/mounts; :")
            reached += not done.failure
            assert done.output in ("0\n", ""), done
            assert done.failure is None or done.failure.error in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST), done
    assert flips[0] >= FLIPS
    assert reached, "some went through, or nothing was tried"
    assert not list(outside.iterdir())
    assert outside.stat().st_uid == os.getuid()
