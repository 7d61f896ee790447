"""Parent actions of a privileged caller: clone what the sandbox is to see of the host.

A mapped root can reach nothing below a directory of mode 0700, and the kernel lets only the file system owner's
capability id-map a mount. So the parent opens each source once, clones it, sets attributes and id map on the clone,
and hands it over by descriptor (open_tree(2), mount_setattr(2)). A path that is swapped meanwhile changes nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from stat import S_ISSOCK
from typing import Literal

import msgspec

from nsjail_py.plugin import IdMaps, IdRange, Launch, Phase, Slot, constants
from nsjail_py.plugin.mounting import mapping_namespace, mounts, outside
from nsjail_py_plugins.mnt import sensitive

#: ``native``: the ids that the file system stores are those of the sandbox; ``owner``: what belongs to the caller
#: belongs to the payload.
Shift = Literal["none", "native", "owner"]

#: After the user plugin has decided the maps.
RANK = 20

#: How the error of a source begins that was swapped after it had been checked.
SWAPPED = "has become a link to"

#: What mount_setattr(2) says where a file system cannot be id-mapped.
_NOT_SHIFTED = (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP)


class CloneSource(msgspec.Struct, frozen=True, kw_only=True):
    """Clone a mount tree of the host.

    :param slot: where the clone goes
    :param source: its path
    :param fd: or a descriptor of it
    :param recursive: with every mount below it
    :param attributes: ``MOUNT_ATTR_*`` of all of them
    :param shift: how ids are mapped
    :param ids: for ``owner``, the caller's uid and gid and the payload's inside
    :param writable: then ids that cannot be mapped are an error instead of a warning
    :param optional: leave the slot empty where the source does not exist
    :param guarded: refuse what has become a sensitive source since it was checked
    """

    slot: Slot
    source: str | None = None
    fd: int | None = None
    recursive: bool = True
    attributes: int = 0
    shift: Shift = "none"
    ids: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    writable: bool = False
    optional: bool = False
    guarded: bool = False
    phase: Phase = Phase.HOST
    rank: int = RANK

    @property
    def name(self) -> str:
        """The source, for people."""
        return self.source if self.source is not None else f"descriptor {self.fd}"

    @property
    def text(self) -> str:
        shifted = {"none": "", "native": ", its ids shifted", "owner": ", the caller's ids shifted"}[self.shift]
        return f"clone {self.name} ({'writable' if self.writable else 'read-only'}{shifted})"

    @property
    def fills(self) -> tuple[Slot, ...]:
        return (self.slot,)

    def run(self, launch: Launch) -> None:
        try:
            tree = self._clone()
        except FileNotFoundError:
            if not self.optional:
                raise
            launch.fill(self.slot, -1, keep=True)
            return
        launch.fill(self.slot, tree)
        self._shift(tree, launch)

    def _clone(self) -> int:
        flags = constants.OPEN_TREE_CLONE | (constants.AT_RECURSIVE if self.recursive else 0)
        if self.fd is not None:
            return mounts.open_tree("", flags | constants.AT_EMPTY_PATH, directory=self.fd)
        if self.source is None:
            raise ValueError("a source needs a path or a descriptor")
        if not self.guarded:
            return mounts.open_tree(self.source, flags)
        opened = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        try:
            found = os.readlink(f"/proc/self/fd/{opened}")
            socket = S_ISSOCK(os.fstat(opened).st_mode)
            # the path itself was looked at before; what counts is a link in it that leads elsewhere by now
            if (socket or found != self.source) and sensitive.reason(found, socket=socket):
                raise PermissionError(errno.EPERM, f"{SWAPPED} {found}", self.source)
            return mounts.open_tree("", flags | constants.AT_EMPTY_PATH, directory=opened)
        finally:
            os.close(opened)

    def _shift(self, tree: int, launch: Launch) -> None:
        maps = self._maps(launch.maps)
        # a mount inside the tree may refuse what the tree itself allows, so the tree alone is the second try
        recursions = (True, False) if self.recursive else (False,)
        for recursive in recursions if maps is not None else ():
            try:
                set_attributes(tree, self.attributes, recursive=recursive, maps=maps)
            except OSError as error:
                if error.errno not in _NOT_SHIFTED:
                    raise
                failure = error
                continue
            if recursive != self.recursive:
                set_attributes(tree, self.attributes, recursive=True)
            return
        if maps is not None:
            if self.writable:
                raise OSError(failure.errno, "its file system cannot shift ids", self.name)
            launch.warnings.append(f"mnt: {self.name}: its file system cannot shift ids: owners look like nobody")
        set_attributes(tree, self.attributes, recursive=self.recursive)

    def _maps(self, maps: IdMaps | None) -> tuple[Iterable[IdRange], Iterable[IdRange]] | None:
        if self.shift == "none" or (self.shift == "native" and maps is None):
            return None
        if self.shift == "native" and maps is not None:
            return maps.uids, maps.gids
        caller, payload = self.ids
        uid = payload[0] if maps is None else outside(maps.uids, payload[0])
        gid = payload[1] if maps is None else outside(maps.gids, payload[1])
        if uid is None or gid is None or caller == (uid, gid):
            return None
        return (IdRange(caller[0], uid),), (IdRange(caller[1], gid),)


def set_attributes(
    tree: int,
    attributes: int,
    *,
    clear: int = 0,
    recursive: bool,
    maps: tuple[Iterable[IdRange], Iterable[IdRange]] | None = None,
) -> None:
    """Set attributes, and an id map, of a detached mount tree, and cut it off from its source (mount_setattr(2)).

    A clone of a shared mount is shared with it: what is mounted on either would appear on both, and pivot_root(2)
    refuses such a root. Where systemd runs, every mount is shared.

    :param maps: uid and gid ranges: as the file system stores them, and as they are to look
    """
    flags = constants.AT_EMPTY_PATH | (constants.AT_RECURSIVE if recursive else 0)
    if maps is None:
        mounts.mount_setattr(
            "", directory=tree, flags=flags, attr_set=attributes, attr_clr=clear, propagation=constants.MS_PRIVATE
        )
        return
    mounts.mount_setattr(
        "",
        directory=tree,
        flags=flags,
        attr_set=attributes | constants.MOUNT_ATTR_IDMAP,
        attr_clr=clear,
        propagation=constants.MS_PRIVATE,
        user_namespace=mapping_namespace(*maps),
    )
