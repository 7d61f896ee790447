"""A minimal ``/dev``: the host's own nodes, and nothing that a root directory may call a device.

``/dev/null`` of an untrusted root can be anything (CVE-2025-31133), and in a user namespace none can be made. So the
nodes are cloned from the host, and a privileged caller first makes sure that each is the device it is called.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISCHR

import msgspec

from nsjail_py.plugin import Launch, Mount, Phase, Slot, Step, constants, steps
from nsjail_py.plugin.mounting import mounts, size_bytes
from nsjail_py_plugins.mnt.device_tree import CloneDeviceTree
from nsjail_py_plugins.mnt.overlay import ORDER
from nsjail_py_plugins.mnt.scene import Scene
from nsjail_py_plugins.mnt.sources import RANK, set_attributes

#: Names and device numbers (the kernel's Documentation/admin-guide/devices.txt).
NODES = {
    "full": os.makedev(1, 7),
    "null": os.makedev(1, 3),
    "random": os.makedev(1, 8),
    "tty": os.makedev(5, 0),
    "urandom": os.makedev(1, 9),
    "zero": os.makedev(1, 5),
}

LINKS = {
    "fd": "/proc/self/fd",
    "ptmx": "pts/ptmx",
    "stderr": "/proc/self/fd/2",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
}

_QUIET = constants.MOUNT_ATTR_NOSUID | constants.MOUNT_ATTR_NOEXEC


class CloneDevices(msgspec.Struct, frozen=True, kw_only=True):
    """Clone the nodes of the host's ``/dev`` after a look at their device numbers.

    :param fills: a slot for each of ``NODES``, in their order
    :param directory: the host's ``/dev``
    """

    fills: tuple[Slot, ...]
    directory: str = "/dev"
    phase: Phase = Phase.HOST
    rank: int = RANK
    text: str = f"clone the devices {', '.join(NODES)}"

    def run(self, launch: Launch) -> None:
        for slot, (name, number) in zip(self.fills, NODES.items(), strict=True):
            launch.fill(slot, self._clone(f"{self.directory}/{name}", number))

    def _clone(self, path: str, number: int) -> int:
        opened = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(opened)
            if not S_ISCHR(found.st_mode) or found.st_rdev != number:
                raise OSError(errno.ENODEV, "not the device that it is called", path)
            flags = constants.OPEN_TREE_CLONE | constants.AT_EMPTY_PATH
            tree = mounts.open_tree("", flags, directory=opened)
        finally:
            os.close(opened)
        try:
            set_attributes(tree, _QUIET, clear=constants.MOUNT_ATTR_NODEV, recursive=False)
        except OSError:
            os.close(tree)
            raise
        return tree


def recipe(target: str, shm: int | str, scene: Scene, *, named: bool) -> Mount:
    """The whole of ``/dev`` as one mount.

    :param target: where
    :param shm: bytes of ``shm``
    :param named: the user asked for it
    """
    own = Slot(f"dev:{target}")
    fresh = (
        # no gid=5: the tty group need not be mapped, and the C library no longer asks for it
        *_fresh("devpts", ("ptmxmode=0666", "mode=0620"), f"{target}/pts", "own terminals"),
        *_fresh("tmpfs", ("mode=1777", f"size={size_bytes(shm)}"), f"{target}/shm", "own shared memory", nodev=True),
    )
    if is_ready_made(target, scene):
        devices = steps.attach(own, target, make=constants.NSJ_ATTACH_MKDIR, text=f"{target}: own devices")
        cloning = CloneDeviceTree(slot=own, nodes=NODES, links=LINKS)
        return Mount(target=target, text="own devices", attach=(devices, *fresh), actions=(cloning,), named=named)
    nodes = {name: Slot(f"dev:{target}/{name}") for name in NODES}
    options = ("mode=755", "size=64k")
    attached = [
        steps.new_filesystem("tmpfs", options, own, attributes=_QUIET),
        steps.attach(own, target, make=constants.NSJ_ATTACH_MKDIR, text=f"{target}: own devices"),
    ]
    attached += [
        steps.attach(slot, f"{target}/{name}", make=constants.NSJ_ATTACH_MKFILE, text=f"{target}/{name}: the host's")
        for name, slot in nodes.items()
    ]
    attached += [steps.symlink(f"{target}/{name}", to) for name, to in LINKS.items()]
    attached.append(steps.mkdir(f"{target}/mqueue"))
    attached += fresh
    cloned: tuple[Step, ...] = ()
    if not scene.privileged:
        cloned = tuple(
            steps.open_tree(f"/dev/{name}", slot, recursive=False, rank=ORDER) for name, slot in nodes.items()
        )
    return Mount(
        target=target,
        text="own devices",
        prepare=cloned,
        attach=tuple(attached),
        actions=(CloneDevices(fills=tuple(nodes.values())),) if scene.privileged else (),
        named=named,
    )


def is_ready_made(target: str, scene: Scene) -> bool:
    """Whether a ``/dev`` at this place is a clone of the tree that all share, in which nothing more can be made."""
    crowded = any(mount.target.startswith(f"{target}/") for mount in scene.section.mounts)
    return scene.device_tree and not crowded


def covers(scene: Scene) -> Slot | None:
    """The ready-made ``/dev`` to mask with, or ``None`` where there is none."""
    named = any(mount.target == "/dev" for mount in scene.section.mounts)
    return Slot("dev:/dev") if scene.section.dev and not named and is_ready_made("/dev", scene) else None


def _fresh(kind: str, options: tuple[str, ...], target: str, text: str, *, nodev: bool = False) -> tuple[Step, Step]:
    slot = Slot(f"dev:{target}")
    attributes = _QUIET | (constants.MOUNT_ATTR_NODEV if nodev else 0)
    return (
        steps.new_filesystem(kind, options, slot, attributes=attributes),
        steps.attach(slot, target, make=constants.NSJ_ATTACH_MKDIR, text=f"{target}: {text}"),
    )
