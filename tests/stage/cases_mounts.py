"""One success and one failure of each mount opcode, in a mount namespace of its own."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.stage.blob import Out, Slot, Step, const, step
from tests.stage.kernel import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_SHARED,
    NEWNS,
    OPEN_TREE_CLONE,
)
from tests.stage.running import EXTRA, Finished, Launcher, opened, shell

Case = Callable[[Launcher, Path], None]
ROOT, TREE = Slot(20), Slot(21)

#: a tmpfs on the root, in slot 20, with the host's /usr
NEW_ROOT = [
    step("NEW_FS", "tmpfs", ["mode=0755"], 0, Out(20)),
    step("ATTACH", None, ROOT, "/", 0),
    step("OPEN_TREE", None, "/usr", OPEN_TREE_CLONE | AT_RECURSIVE, Out(21)),
    step("ATTACH", ROOT, TREE, "usr", const("ATTACH_MKDIR")),
    *(step("SYMLINK", ROOT, name, f"usr/{name}") for name in ("bin", "lib", "lib64")),
    step("CLOSE", TREE),
]


def run(launcher: Launcher, *steps: Step, then: str = "echo ran", extra: tuple[int, ...] = ()) -> Finished:
    return launcher.run([*steps, *shell(then)], namespaces=NEWNS, extra=extra)


def clone(path: Path, slot: int = 21) -> Step:
    return step("OPEN_TREE", None, str(path), OPEN_TREE_CLONE | AT_RECURSIVE, Out(slot))


def propagation(launcher: Launcher, tmp: Path) -> None:
    shared = step("PROPAGATION", "/", MS_SHARED, 0)
    done = run(launcher, shared, then="cat /proc/self/mountinfo").succeeded()
    (root,) = [line for line in done.output.splitlines() if line.split()[4] == "/"]
    assert " shared:" in root


def propagation_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, step("PROPAGATION", str(tmp), MS_SHARED, 0)).failed(errno.EINVAL)


def open_tree(launcher: Launcher, tmp: Path) -> None:
    (tmp / "source").mkdir()
    (tmp / "source/file").touch()
    (tmp / "target").mkdir()
    attach = step("ATTACH", None, TREE, str(tmp / "target"), 0)
    assert run(launcher, clone(tmp / "source"), attach, then=f"ls {tmp}/target").succeeded().output == "file\n"


def open_tree_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, clone(tmp / "missing")).failed(errno.ENOENT)


def new_fs(launcher: Launcher, tmp: Path) -> None:
    made = step("NEW_FS", "tmpfs", ["size=1m", "mode=0751", "noswap" if _has_noswap() else "nr_inodes=9"],
                MOUNT_ATTR_NOEXEC, Out(21))  # fmt: skip
    attach = step("ATTACH", None, TREE, str(tmp), 0)
    done = run(launcher, made, attach, then=f"grep ' {tmp} ' /proc/mounts").succeeded()
    assert "noexec" in done.output
    assert "size=1024k,mode=751" in done.output.replace("nr_inodes=9,", "")


def _has_noswap() -> bool:
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 4)


def new_fs_fails(launcher: Launcher, tmp: Path) -> None:
    bad = step("NEW_FS", "tmpfs", ["size=1m", "nonsense=1"], 0, Out(21))
    run(launcher, bad).failed(errno.EINVAL, at="ENTRY", index=1)


def set_attr(launcher: Launcher, tmp: Path) -> None:
    readonly = step("SET_ATTR", TREE, None, MOUNT_ATTR_RDONLY, 0, 0, AT_RECURSIVE, None)
    attach = step("ATTACH", None, TREE, str(tmp), 0)
    done = run(launcher, clone(tmp), readonly, attach, then=f"touch {tmp}/file 2>&1; :").succeeded()
    assert "Read-only file system" in done.output


def set_attr_fails(launcher: Launcher, tmp: Path) -> None:
    unknown = step("SET_ATTR", TREE, None, 1 << 40, 0, 0, 0, None)
    run(launcher, clone(tmp), unknown).failed(errno.EINVAL)


def set_attr_maps_ids(launcher: Launcher, tmp: Path) -> None:
    """Not in the table: the one use of the last argument."""
    (tmp / "file").touch()
    with subprocess.Popen(["unshare", "--user", "sh", "-c", "echo; read x"], stdin=-1, stdout=-1) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text("0 3000 10")
        mapped = step("SET_ATTR", TREE, None, MOUNT_ATTR_IDMAP, 0, 0, AT_EMPTY_PATH, Slot(EXTRA))
        attach = step("ATTACH", None, TREE, str(tmp), 0)
        with opened(f"/proc/{holder.pid}/ns/user", os.O_RDONLY) as fd:
            done = run(launcher, clone(tmp), mapped, attach, then=f"stat -c %u {tmp}/file", extra=(fd,))
        holder.stdin.close()
    assert done.succeeded().output == "3000\n"


def attach(launcher: Launcher, tmp: Path) -> None:
    (tmp / "dir").mkdir()
    (tmp / "file").write_text("text")
    plan = [
        *NEW_ROOT,
        clone(tmp / "dir", 22),
        step("ATTACH", ROOT, Slot(22), "/made/dir", const("ATTACH_MKDIR")),
        clone(tmp / "file", 23),
        step("ATTACH", ROOT, Slot(23), "/made/file", const("ATTACH_MKFILE")),
        clone(tmp / "dir", 24),
        step("ATTACH", ROOT, Slot(24), "either/dir", const("ATTACH_MAKE")),
        clone(tmp / "file", 25),
        step("ATTACH", ROOT, Slot(25), "either/file", const("ATTACH_MAKE")),
        clone(tmp / "file", 26),
        step("ATTACH", ROOT, Slot(26), "either/file", 0),
        step("PIVOT", ROOT),
    ]
    done = run(launcher, *plan, then="cat made/file either/file; ls -d made/dir/. either/dir/.").succeeded()
    assert done.output == "texttexteither/dir/.\nmade/dir/.\n"


def attach_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, *NEW_ROOT, clone(tmp), step("ATTACH", ROOT, TREE, "missing", 0)).failed(errno.ENOENT, at="TARGET")


def pivot(launcher: Launcher, tmp: Path) -> None:
    assert run(launcher, *NEW_ROOT, step("PIVOT", ROOT), then="ls /; pwd").succeeded().output.split() == [
        "bin", "lib", "lib64", "usr", "/",
    ]  # fmt: skip


def pivot_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, step("NEW_FS", "tmpfs", [], 0, Out(20)), step("PIVOT", ROOT)).failed(errno.EINVAL)


def _covered(tmp: Path) -> tuple[Path, Path]:
    (tmp / "dir").mkdir()
    (tmp / "dir/inside").touch()
    (tmp / "file").write_text("secret")
    return tmp / "dir", tmp / "file"


def mask(launcher: Launcher, tmp: Path) -> None:
    directory, file = _covered(tmp)
    paths = [str(tmp / "missing"), str(directory), str(file), str(file / "not a directory")]
    then = f"ls {directory}; cat {file}; ls /null /mqueue; touch {directory}/x; : > {file}; chmod 7 {file}"
    done = run(launcher, step("MASK", paths), then=f"({then}) 2>&1; :").succeeded()
    assert "inside" not in done.output
    assert "secret" not in done.output
    assert done.output.count("No such file") == 2, "the covers were taken off the root again"
    assert done.output.count("Read-only file system") + done.output.count("cannot create") == 3


def mask_under_a_umask(launcher: Launcher, tmp: Path) -> None:
    """Not in the table: what is covered looks empty to anybody, not forbidden."""
    directory, file = _covered(tmp)
    tmp.chmod(0o755)
    old = os.umask(0o077)
    try:
        masked = step("MASK", [str(directory), str(file)])
        done = run(launcher, masked, then=f"stat -c %a {directory} {file}")
    finally:
        os.umask(old)
    assert done.succeeded().output == "555\n444\n"


def mask_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, step("MASK", [str(tmp), "/" + "x" * 300])).failed(errno.ENAMETOOLONG, at="ENTRY", index=1)


def readonly(launcher: Launcher, tmp: Path) -> None:
    directory, file = _covered(tmp)
    below = step("MOUNT", None, str(directory), "tmpfs", 0, None)
    done = run(launcher, below, step("READONLY", [str(tmp / "missing"), str(tmp)]),
               then=f"(cat {file}; touch {tmp}/x; touch {directory}/x) 2>&1; :").succeeded()  # fmt: skip
    assert done.output.startswith("secret")
    assert done.output.count("Read-only file system") == 2, "what is mounted below as well"


def readonly_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, step("READONLY", ["/" + "x" * 300])).failed(errno.ENAMETOOLONG, at="ENTRY", index=0)


def mount(launcher: Launcher, tmp: Path) -> None:
    bind = step("MOUNT", "/usr/share", str(tmp), None, MS_BIND, None)
    assert run(launcher, bind, then=f"test -d {tmp}/doc && echo bound").succeeded().output == "bound\n"


def mount_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, step("MOUNT", None, str(tmp), "no-such-fs", 0, None)).failed(errno.ENODEV)


def umount(launcher: Launcher, tmp: Path) -> None:
    (tmp / "file").touch()
    steps = [step("MOUNT", None, str(tmp), "tmpfs", 0, None), step("UMOUNT", str(tmp), 0)]
    assert run(launcher, *steps, then=f"ls {tmp}").succeeded().output == "file\n"


def umount_fails(launcher: Launcher, tmp: Path) -> None:
    run(launcher, step("UMOUNT", str(tmp), 0)).failed(errno.EINVAL)


PASSING: dict[str, Case] = {
    "PROPAGATION": propagation, "OPEN_TREE": open_tree, "NEW_FS": new_fs, "SET_ATTR": set_attr, "ATTACH": attach,
    "PIVOT": pivot, "MASK": mask, "MOUNT": mount, "UMOUNT": umount, "READONLY": readonly,
}  # fmt: skip
FAILING: dict[str, Case] = {
    "PROPAGATION": propagation_fails, "OPEN_TREE": open_tree_fails, "NEW_FS": new_fs_fails,
    "SET_ATTR": set_attr_fails, "ATTACH": attach_fails, "PIVOT": pivot_fails, "MASK": mask_fails,
    "MOUNT": mount_fails, "UMOUNT": umount_fails, "READONLY": readonly_fails,
}  # fmt: skip
