"""A ready-made ``/dev`` for a privileged caller: nodes made once a process, cloned for each sandbox.

Six nodes bound one by one are a tenth of a launch. The tree is read-only and holds nothing that could be changed, so
that all sandboxes may share it; writing to a device does not write to its file system.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Mapping
from stat import S_IFCHR

import msgspec

from nsjail_py.plugin import Launch, Phase, Slot, constants
from nsjail_py.plugin.mounting import mounts
from nsjail_py_plugins.mnt.sources import RANK, set_attributes

_lock = allocate_lock()
_tree = -1


class CloneDeviceTree(msgspec.Struct, frozen=True, kw_only=True):
    """Clone the ready-made tree.

    :param slot: where the clone goes
    :param nodes: names and device numbers
    :param links: names and texts of symbolic links
    """

    slot: Slot
    nodes: dict[str, int]
    links: dict[str, str]
    phase: Phase = Phase.HOST
    rank: int = RANK

    @property
    def text(self) -> str:
        return f"clone the devices {', '.join(self.nodes)}"

    @property
    def fills(self) -> tuple[Slot, ...]:
        return (self.slot,)

    def run(self, launch: Launch) -> None:
        global _tree
        with _lock:
            if _tree < 0:
                _tree = make(self.nodes, self.links)
        flags = constants.OPEN_TREE_CLONE | constants.AT_EMPTY_PATH
        launch.fill(self.slot, mounts.open_tree("", flags, directory=_tree))


def make(nodes: Mapping[str, int], links: Mapping[str, str]) -> int:
    """Make the tree.

    :param nodes: names and device numbers
    :param links: names and texts of symbolic links
    :returns: a detached, read-only mount
    :raises OSError: EPERM without CAP_MKNOD
    """
    context = mounts.fsopen("tmpfs")
    try:
        for key, value in (("mode", "755"), ("size", "64k")):
            mounts.fsconfig(context, constants.FSCONFIG_SET_STRING, key, value)
        mounts.fsconfig(context, constants.FSCONFIG_CMD_CREATE)
        tree = mounts.fsmount(context)
    finally:
        os.close(context)
    try:
        for name, number in nodes.items():
            os.mknod(name, S_IFCHR | 0o666, number, dir_fd=tree)
            os.chmod(name, 0o666, dir_fd=tree)  # mknod's own mode is cut by the caller's umask
        for name, text in links.items():
            os.symlink(text, name, dir_fd=tree)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, dir_fd=tree)
            os.chmod(name, 0o755, dir_fd=tree)
        attributes = constants.MOUNT_ATTR_RDONLY | constants.MOUNT_ATTR_NOSUID | constants.MOUNT_ATTR_NOEXEC
        set_attributes(tree, attributes, recursive=False)
    except BaseException:
        os.close(tree)
        raise
    return tree
