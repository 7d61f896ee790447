"""Mounts: mount(2), the newer calls that work by descriptor, and the mount table.

See mount(2), umount2(2), pivot_root(2), open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), proc(5).
"""

from __future__ import annotations

import os

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, ffi, lib
from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsjail_py.linux.call import StrPath


def mount(source: StrPath, target: StrPath, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, remount, bind, move, or change propagation: what mount(2) does.

    :param source: a device, a directory, or a word for file systems that need neither
    :param target: where
    :param kind: the type of the file system
    :param flags: ``MS_*``
    :param data: options of the file system, separated by commas
    :raises OSError: as in mount(2)
    """
    code = lib.nsj_mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(kind) or ffi.NULL, flags, os.fsencode(data) or ffi.NULL
    )
    check(code, "mount", target)


def umount2(target: StrPath, flags: int = 0) -> None:
    """Unmount.

    :param flags: ``MNT_DETACH``, ``UMOUNT_NOFOLLOW``, ...
    """
    check(lib.nsj_umount2(os.fsencode(target), flags), "umount2", target)


def pivot_root(new_root: StrPath, put_old: StrPath) -> None:
    """Make a mount the root of the mount namespace, and put the old root somewhere beneath it (or over it: ``"."``)."""
    check(lib.nsj_pivot_root(os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)


def open_tree(path: StrPath, flags: int = 0, *, directory: int = c.AT_FDCWD) -> int:
    """Open a mount, or with ``OPEN_TREE_CLONE`` a detached copy of it.

    :param flags: ``OPEN_TREE_CLONE``, ``AT_RECURSIVE``, ``AT_EMPTY_PATH``, ``AT_SYMLINK_NOFOLLOW``
    :param directory: what ``path`` is relative to
    :returns: a descriptor; a detached copy that is attached nowhere goes away with it
    :raises OSError: EPERM without CAP_SYS_ADMIN, for a copy
    """
    return check(lib.nsj_open_tree(directory, os.fsencode(path), flags | c.OPEN_TREE_CLOEXEC), "open_tree", path)


def move_mount(tree: int, target: StrPath, *, directory: int = c.AT_FDCWD, flags: int = 0) -> None:
    """Attach a detached mount.

    :param tree: from :func:`open_tree` or :func:`fsmount`
    :param target: where; empty with ``MOVE_MOUNT_T_EMPTY_PATH``: on ``directory`` itself
    """
    flags |= c.MOVE_MOUNT_F_EMPTY_PATH
    check(lib.nsj_move_mount(tree, b"", directory, os.fsencode(target), flags), "move_mount", target)


def mount_setattr(
    path: StrPath,
    *,
    directory: int = c.AT_FDCWD,
    flags: int = 0,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    user_namespace: int = -1,
) -> None:
    """Change the attributes of a mount, with ``AT_RECURSIVE`` of all beneath it: all or none.

    :param flags: ``AT_RECURSIVE``, ``AT_EMPTY_PATH``, ``AT_SYMLINK_NOFOLLOW``
    :param attr_set: ``MOUNT_ATTR_*`` to set
    :param attr_clr: ``MOUNT_ATTR_*`` to clear; to change the access time mode, ``MOUNT_ATTR__ATIME``
    :param propagation: ``MS_PRIVATE``, ``MS_SLAVE``, ... or 0: as it is
    :param user_namespace: with ``MOUNT_ATTR_IDMAP``, whose id map; see :mod:`nsjail_py.linux.idmap`
    :raises OSError: EINVAL where the file system cannot be id-mapped, EPERM
    """
    code = lib.nsj_mount_setattr(directory, os.fsencode(path), flags, attr_set, attr_clr, propagation, user_namespace)
    check(code, "mount_setattr", path)


def fsopen(kind: str) -> int:
    """Begin a new file system.

    :param kind: its type
    :returns: a descriptor for :func:`fsconfig`
    :raises OSError: ENODEV where the kernel has no such type
    """
    return check(lib.nsj_fsopen(os.fsencode(kind), c.FSOPEN_CLOEXEC), f"fsopen({kind})")


def fspick(path: StrPath, flags: int = 0, *, directory: int = c.AT_FDCWD) -> int:
    """Open the file system of a mount, to change its options with :func:`fsconfig` and FSCONFIG_CMD_RECONFIGURE.

    :param flags: ``FSPICK_*``
    :returns: a descriptor for :func:`fsconfig`
    :raises OSError: EINVAL where the path is not a mount point
    """
    return check(lib.nsj_fspick(directory, os.fsencode(path), flags | c.FSPICK_CLOEXEC), "fspick", path)


def fsconfig(fs: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """Set an option of a file system that is being made, or with ``FSCONFIG_CMD_CREATE`` make it.

    :param command: ``FSCONFIG_*``
    :param key: the option
    :param value: its value, for ``FSCONFIG_SET_STRING`` and ``FSCONFIG_SET_PATH``
    :param aux: a descriptor, for ``FSCONFIG_SET_FD`` and paths relative to one
    :raises OSError: as in fsconfig(2); the text ends with what the file system itself has to say
    """
    code = lib.nsj_fsconfig(
        fs,
        command,
        ffi.NULL if key is None else os.fsencode(key),
        ffi.NULL if value is None else os.fsencode(value),
        aux,
    )
    if code < 0:
        said = _said(fs)
        check(code, f"fsconfig({key or command})" + (f": {said}" if said else ""))


def _said(fs: int) -> str:
    """What the file system logged on its descriptor about the last failure."""
    try:
        return os.read(fs, 4096).decode(errors="replace").strip()
    except OSError:
        return ""


def fsmount(fs: int, attributes: int = 0) -> int:
    """A detached mount of a file system that :func:`fsconfig` has made.

    :param attributes: ``MOUNT_ATTR_*``
    :returns: a descriptor for :func:`move_mount`
    """
    return check(lib.nsj_fsmount(fs, c.FSMOUNT_CLOEXEC, attributes), "fsmount")


class MountPoint(Record):
    """One line of ``/proc/PID/mountinfo``.

    :param id: its number, which ``parent`` of others names
    :param parent: the number of the mount that it is on
    :param device: ``major:minor``
    :param root: the directory of the file system that is its root
    :param target: where it is mounted
    :param options: of this mount, as in ``("ro", "nosuid")``
    :param propagation: as in ``("shared:12",)``; private ones have none
    :param kind: the type of the file system
    :param source: what was mounted
    :param super_options: of the file system
    """

    id: int
    parent: int
    device: str
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    kind: str
    source: str
    super_options: tuple[str, ...]


def mountinfo(pid: int | None = None) -> list[MountPoint]:
    """The mounts that a process sees, in the order in which the kernel lists them.

    :param pid: its process id; ``None``: the calling thread

    >>> any(mount.target == "/proc" and mount.kind == "proc" for mount in mountinfo())
    True
    """
    with open(f"/proc/{'thread-self' if pid is None else pid}/mountinfo", "rb") as file:
        return [parse_mountinfo_line(os.fsdecode(line)) for line in file.read().splitlines()]


def parse_mountinfo_line(line: str) -> MountPoint:
    """Read one line of mountinfo; see proc(5).

    >>> line = parse_mountinfo_line(r"36 35 98:0 /a /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw")
    >>> line.target, line.options, line.propagation, line.kind
    ('/mnt/a b', ('rw', 'noatime'), ('master:1',), 'ext3')
    """
    before, _, after = line.partition(" - ")
    number, parent, device, root, target, options, *propagation = before.split(" ")
    kind, source, super_options = after.split(" ", 2)
    return MountPoint(
        int(number),
        int(parent),
        device,
        _unescape(root),
        _unescape(target),
        tuple(options.split(",")),
        tuple(propagation),
        kind,
        _unescape(source),
        tuple(super_options.split(",")),
    )


def _unescape(text: str) -> str:
    """Space, tab, newline and backslash are written as three octal digits."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
