"""The mnt section: which view of the file system, and what is mounted in it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from nsjail_py.spec.section import Section
from nsjail_py.spec.units import AbsolutePath, ModeText, Permissions, Size, Text

#: Host directories of an overlay, the topmost first.
Layers = Annotated[
    tuple[AbsolutePath, ...], msgspec.Meta(min_length=1, description="a list of at least one absolute path")
]


class _Mount(Section, tag_field="kind", frozen=True, kw_only=True):
    """What every kind of mount has.

    :param target: where in the sandbox
    """

    target: AbsolutePath


class Bind(_Mount, tag="bind", frozen=True, kw_only=True):
    """A host file or directory.

    :param source: its absolute path on the host
    :param fd: or an open descriptor of it, instead of ``source``
    :param target: where in the sandbox
    :param writable: it is read-only otherwise; what is written belongs to the caller
    :param recursive: with every mount below it
    :param optional: leave it out where the source does not exist
    :param idmap: shift ids so that the caller's files look like the payload's; ``auto``: where they differ and it is
        writable
    :param sensitive: yes, really: the source is one of those that give the host away (a control socket, ``/``, a home)
    """

    source: AbsolutePath | None = None
    fd: Annotated[int, msgspec.Meta(ge=0)] | None = None
    writable: bool = False
    recursive: bool = True
    optional: bool = False
    idmap: Literal["auto", "yes", "no"] = "auto"
    sensitive: bool = False


class Tmpfs(_Mount, tag="tmpfs", frozen=True, kw_only=True):
    """An empty file system in memory.

    :param size: most bytes
    :param inodes: most files
    :param mode: permission bits of its root, octal in text
    :param owned: it belongs to the payload's user instead of root
    """

    size: Size = 64 << 20
    inodes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    mode: Permissions = "1777"
    owned: bool = False


class Proc(_Mount, tag="proc", frozen=True, kw_only=True):
    """procfs of the sandbox's own pid namespace."""


class Dev(_Mount, tag="dev", frozen=True, kw_only=True):
    """A minimal ``/dev``: null, zero, full, random, urandom, tty, its own devpts and shm.

    :param shm: bytes of ``/dev/shm``
    """

    shm: Size = 64 << 20


class Mqueue(_Mount, tag="mqueue", frozen=True, kw_only=True):
    """POSIX message queues of the sandbox's own ipc namespace."""


class Sysfs(_Mount, tag="sysfs", frozen=True, kw_only=True):
    """sysfs, read-only; needs the sandbox's own network namespace."""


class Overlay(_Mount, tag="overlay", frozen=True, kw_only=True):
    """Directories merged, with changes kept apart.

    :param lower: host directories, the topmost first
    :param upper: where changes are kept; in memory and thrown away otherwise
    :param work: overlayfs's work directory on the same file system as ``upper``; made beside it otherwise
    :param size: most bytes of changes, where they are in memory
    """

    lower: Layers
    upper: AbsolutePath | None = None
    work: AbsolutePath | None = None
    size: Size = 256 << 20


class Directory(_Mount, tag="directory", frozen=True, kw_only=True):
    """An empty directory.

    :param mode: permission bits, octal in text
    :param owned: it belongs to the payload's user instead of root
    """

    mode: Permissions = "755"
    owned: bool = False


class Symlink(_Mount, tag="symlink", frozen=True, kw_only=True):
    """A symbolic link.

    :param to: its text
    """

    to: Annotated[Text, msgspec.Meta(min_length=1, description="a path without NUL characters")]


class File(_Mount, tag="file", frozen=True, kw_only=True):
    """A file with the given content.

    :param content: its text
    :param mode: permission bits, octal in text
    """

    content: str
    mode: Permissions = "644"


class Mask(_Mount, tag="mask", frozen=True, kw_only=True):
    """A path that looks empty: a file like ``/dev/null``, a directory without entries."""


Mount = Bind | Tmpfs | Proc | Dev | Mqueue | Sysfs | Overlay | Directory | Symlink | File | Mask


class Root(Section, frozen=True, kw_only=True):
    """A root directory of the host.

    :param path: absolute
    :param writable: it is read-only otherwise
    """

    path: AbsolutePath
    writable: bool = False


class OverlayRoot(Section, frozen=True, kw_only=True):
    """An overlay as the root.

    :param lower: host directories, the topmost first
    :param upper: where changes are kept; in memory and thrown away otherwise
    :param work: overlayfs's work directory on the same file system as ``upper``; made beside it otherwise
    :param size: most bytes of changes, where they are in memory
    """

    lower: Layers
    upper: AbsolutePath | None = None
    work: AbsolutePath | None = None
    size: Size = 256 << 20


class Mnt(Section, frozen=True, kw_only=True):
    """The mount namespace, its root, and what is mounted there.

    With ``root`` the view is that directory, with ``overlay`` the overlay; otherwise ``view`` decides.

    :param mode: see ``ModeText``; a joined one excludes everything else here
    :param root: a root directory
    :param overlay: an overlay over one or more directories
    :param view: ``host``: the host's programs and libraries read-only, a generated ``/etc``, private ``/tmp``,
        ``/run`` and ``/home``; ``empty``: nothing but what is mounted
    :param mounts: in any order; they are mounted parents first
    :param proc: procfs on ``/proc``; ``try``: leave the container's own one, read-only, where a new one is refused
    :param dev: the minimal ``/dev``
    :param tmp: bytes of the private ``/tmp``; 0: none
    :param size: most bytes of the host view's or empty view's own root
    :param masks: paths that look empty; replaces the default list
    :param readonly: paths that are read-only; replaces the default list
    """

    mode: ModeText = "on"
    root: Root | None = None
    overlay: OverlayRoot | None = None
    view: Literal["host", "empty"] = "host"
    mounts: tuple[Mount, ...] = ()
    proc: bool | Literal["try"] = True
    dev: bool = True
    tmp: Size = 64 << 20
    size: Size = 16 << 20
    masks: tuple[AbsolutePath, ...] = (
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/interrupts",
        "/proc/kallsyms",
        "/proc/sysrq-trigger",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    )
    readonly: tuple[AbsolutePath, ...] = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")
