"""Mounts, in a mount namespace of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nsjail_py.linux import mounts

Inside = Callable[[str], str]


def test_mount_and_unmount(inside: Inside) -> None:
    inside(
        """
where = sys.argv[1]
mounts.mount("name", where, "tmpfs", c.MS_NOSUID | c.MS_NODEV, "size=64k,mode=700")
point = mounts.mountinfo()[-1]
assert (point.target, point.kind, point.source) == (where, "tmpfs", "name")
assert {"nosuid", "nodev"} <= set(point.options) and "size=64k" in point.super_options
mounts.umount2(where)
assert all(point.target != where for point in mounts.mountinfo())
assert raises(errno.EINVAL, mounts.umount2, where) == f"[Errno 22] umount2: Invalid argument: {where!r}"
assert raises(errno.ENODEV, mounts.mount, "x", where, "nosuchfs") == f"[Errno 19] mount: No such device: {where!r}"
"""
    )


def test_a_detached_copy_is_attached_and_made_read_only(inside: Inside) -> None:
    inside(
        """
where = sys.argv[1]
mounts.mount("x", where, "tmpfs")
os.mkdir(f"{where}/from"), os.mkdir(f"{where}/to"), os.mkdir(f"{where}/from/below")
mounts.mount("y", f"{where}/from/below", "tmpfs")
tree = mounts.open_tree(f"{where}/from", c.OPEN_TREE_CLONE | c.AT_RECURSIVE)
flags = c.AT_EMPTY_PATH | c.AT_RECURSIVE
mounts.mount_setattr("", directory=tree, flags=flags, attr_set=c.MOUNT_ATTR_RDONLY, propagation=c.MS_PRIVATE)
mounts.move_mount(tree, f"{where}/to")
raises(errno.EROFS, os.mkdir, f"{where}/to/below/new")
mounts.mount_setattr(f"{where}/to/below", attr_clr=c.MOUNT_ATTR_RDONLY)
os.mkdir(f"{where}/to/below/new")
raises(errno.EROFS, os.mkdir, f"{where}/to/new")
assert os.path.isdir(f"{where}/from/below/new")
"""
    )


def test_a_tree_is_attached_by_descriptor(inside: Inside) -> None:
    inside(
        """
where = os.open(sys.argv[1], c.O_PATH)
fs = mounts.fsopen("tmpfs")
mounts.fsconfig(fs, c.FSCONFIG_CMD_CREATE)
tree = mounts.fsmount(fs)
os.close(os.open("inside", os.O_CREAT | os.O_WRONLY, dir_fd=tree))
mounts.move_mount(tree, "", directory=where, flags=c.MOVE_MOUNT_T_EMPTY_PATH)
assert os.listdir(sys.argv[1]) == ["inside"]
"""
    )


def test_a_new_file_system(inside: Inside) -> None:
    inside(
        """
fs = mounts.fsopen("tmpfs")
mounts.fsconfig(fs, c.FSCONFIG_SET_STRING, "size", "8192")
mounts.fsconfig(fs, c.FSCONFIG_SET_FLAG, "ro")
said = raises(errno.EINVAL, mounts.fsconfig, fs, c.FSCONFIG_SET_STRING, "no_such_option", "1")
assert "fsconfig(no_such_option)" in said and "Unknown parameter" in said, said
mounts.fsconfig(fs, c.FSCONFIG_CMD_CREATE)
tree = mounts.fsmount(fs, c.MOUNT_ATTR_NOEXEC)
mounts.move_mount(tree, sys.argv[1])
point = mounts.mountinfo()[-1]
assert "noexec" in point.options and "size=8k" in point.super_options, point
"""
    )


def test_a_file_system_is_reconfigured(inside: Inside) -> None:
    inside(
        """
where = sys.argv[1]
mounts.mount("x", where, "tmpfs", data="size=64k")
fs = mounts.fspick(where)
mounts.fsconfig(fs, c.FSCONFIG_SET_STRING, "size", "128k")
mounts.fsconfig(fs, c.FSCONFIG_CMD_RECONFIGURE)
assert "size=128k" in mounts.mountinfo()[-1].super_options
os.mkdir(f"{where}/directory")
raises(errno.EINVAL, mounts.fspick, f"{where}/directory")
"""
    )


def test_failures_name_the_call(inside: Inside) -> None:
    inside(
        """
missing = "/does/not/exist"
for call, name in (
    (lambda: mounts.open_tree(missing), "open_tree"),
    (lambda: mounts.move_mount(0, missing), "move_mount"),
    (lambda: mounts.mount_setattr(missing, attr_set=c.MOUNT_ATTR_RDONLY), "mount_setattr"),
    (lambda: mounts.pivot_root(missing, missing), "pivot_root"),
):
    assert raises(errno.ENOENT, call) == f"[Errno 2] {name}: No such file or directory: {missing!r}"
assert raises(errno.ENODEV, mounts.fsopen, "nosuchfs") == "[Errno 19] fsopen(nosuchfs): No such device"
raises(errno.EINVAL, mounts.fsmount, os.open("/dev/null", os.O_RDONLY))
"""
    )


def test_pivot_root(inside: Inside) -> None:
    inside(
        """
mounts.mount("root", sys.argv[1], "tmpfs")
os.chdir(sys.argv[1])
mounts.pivot_root(".", ".")
mounts.umount2(".", c.MNT_DETACH)
os.chdir("/")
assert os.listdir("/") == []
"""
    )


@pytest.mark.parametrize(
    ("line", "target", "propagation"),
    [
        (r"1 2 0:3 / /a\040b\011c\134d rw - tmpfs x rw", "/a b\tc\\d", ()),
        ("1 2 0:3 / /a rw shared:4 master:5 - tmpfs x rw", "/a", ("shared:4", "master:5")),
        (r"1 2 0:3 / /\134040 rw - tmpfs x rw", "/\\040", ()),
    ],
)
def test_lines_of_the_mount_table(line: str, target: str, propagation: tuple[str, ...]) -> None:
    point = mounts.parse_mountinfo_line(line)
    assert (point.target, point.propagation) == (target, propagation)


def test_an_empty_source_of_a_mount() -> None:
    point = mounts.parse_mountinfo_line("1 2 0:3 / /a rw - tmpfs  rw,size=4k")
    assert (point.source, point.super_options) == ("", ("rw", "size=4k"))
