"""One recipe for every kind of mount that a spec can name."""

from __future__ import annotations

from typing import Literal

from nsjail_py.plugin import Mount, Phase, Slot, Step, constants, steps
from nsjail_py.plugin.mounting import (
    Bind,
    Dev,
    Directory,
    File,
    Mask,
    MountSpec,
    Mqueue,
    Overlay,
    Proc,
    Symlink,
    Sysfs,
    Tmpfs,
    size_bytes,
)
from nsjail_py_plugins.mnt import dev, overlay
from nsjail_py_plugins.mnt.overlay import ORDER
from nsjail_py_plugins.mnt.scene import Scene
from nsjail_py_plugins.mnt.sources import CloneSource, Shift

_INERT = constants.MOUNT_ATTR_NOSUID | constants.MOUNT_ATTR_NODEV
_QUIET = _INERT | constants.MOUNT_ATTR_NOEXEC
_MKDIR = constants.NSJ_ATTACH_MKDIR


def recipe(mount: MountSpec, scene: Scene) -> Mount | None:
    """The mount of one entry of ``mounts``; ``None`` for a mask, which belongs to the list of masks."""
    match mount:
        case Bind():
            return bind(mount, scene)
        case Tmpfs():
            return tmpfs(mount, scene, named=True)
        case Proc():
            return proc(mount.target, True, scene, named=True)
        case Dev():
            return dev.recipe(mount.target, mount.shm, scene, named=True)
        case Mqueue():
            return _fresh("mqueue", mount.target, "own message queues", _QUIET)
        case Sysfs():
            return _fresh("sysfs", mount.target, "sysfs, read-only", _QUIET | constants.MOUNT_ATTR_RDONLY)
        case Overlay():
            return _overlay(mount, scene)
        case Directory():
            return _directory(mount, scene)
        case Symlink():
            link = steps.symlink(mount.target, mount.to)
            return Mount(target=mount.target, text=f"link to {mount.to}", attach=(link,), named=True)
        case File():
            return _file(mount, scene)
        case Mask():
            return None


def bind(mount: Bind, scene: Scene, *, named: bool = True, guarded: bool = True) -> Mount:
    """A file or directory of the host.

    :param named: the user asked for it
    :param guarded: refuse what has become a sensitive source since it was checked
    """
    slot = Slot(f"bind:{mount.target}")
    source = mount.source if mount.source is not None else f"descriptor {mount.fd}"
    kind = "writable" if mount.writable else "read-only"
    text = f"bind {source} -> {mount.target} ({kind})"
    attributes = _INERT | (0 if mount.writable else constants.MOUNT_ATTR_RDONLY)
    attach = steps.attach(slot, mount.target, make=constants.NSJ_ATTACH_MAKE, text=text, optional=mount.optional)
    if scene.privileged:
        clone = CloneSource(
            slot=slot,
            source=mount.source,
            fd=mount.fd,
            recursive=mount.recursive,
            attributes=attributes,
            shift=_shift(mount),
            ids=(scene.caller, (scene.uid, scene.gid)),
            writable=mount.writable,
            optional=mount.optional,
            guarded=guarded and mount.fd is None and not mount.sensitive,
        )
        return Mount(target=mount.target, text=text, attach=(attach,), actions=(clone,), named=named)
    prepare = (
        steps.open_tree(source, slot, recursive=mount.recursive, optional=mount.optional, rank=ORDER),
        steps.set_attributes(
            slot,
            add=attributes,
            recursive=mount.recursive,
            phase=Phase.ROOT,
            rank=ORDER,
            text=f"{source} {kind}, without devices and set-user-id",
            optional=mount.optional,
        ),
    )
    return Mount(target=mount.target, text=text, prepare=prepare, attach=(attach,), named=named)


def _shift(mount: Bind) -> Shift:
    wanted = mount.idmap == "yes" or (mount.idmap == "auto" and mount.writable)
    return "owner" if wanted else "none"


def tmpfs(mount: Tmpfs, scene: Scene, *, named: bool) -> Mount:
    """An empty file system in memory."""
    options = [f"mode={mount.mode}", f"size={size_bytes(mount.size)}"]
    if mount.inodes is not None:
        options.append(f"nr_inodes={mount.inodes}")
    if mount.owned and (scene.uid, scene.gid) != (0, 0):
        options += [f"uid={scene.uid}", f"gid={scene.gid}"]
    return _fresh("tmpfs", mount.target, f"tmpfs of {size_bytes(mount.size)} bytes", _INERT, *options, named=named)


def proc(target: str, wanted: Literal[True, "try"], scene: Scene, *, named: bool) -> Mount:
    """procfs, or where it is refused and that was said to be fine, the caller's own one, read-only."""
    if wanted is True:
        return _fresh("proc", target, "procfs", _QUIET, named=named)
    old, new = Slot("proc:old"), Slot("proc:new")
    prepare = (
        steps.open_tree("/proc", old, rank=ORDER),
        steps.set_attributes(
            old,
            add=_QUIET | constants.MOUNT_ATTR_RDONLY,
            phase=Phase.ROOT,
            rank=ORDER,
            text="the caller's /proc read-only",
        ),
    )
    attached = [steps.attach(old, target, make=_MKDIR, text=f"{target}: the caller's, read-only")]
    if scene.own_pids:
        attached += (
            steps.new_filesystem("proc", (), new, attributes=_QUIET, optional=True),
            steps.attach(new, target, text=f"{target}: procfs", optional=True),
        )
    return Mount(target=target, text="procfs if possible", prepare=prepare, attach=tuple(attached), named=named)


def _fresh(kind: str, target: str, text: str, attributes: int, *options: str, named: bool = True) -> Mount:
    slot = Slot(f"{kind}:{target}")
    attached = (
        steps.new_filesystem(kind, options, slot, attributes=attributes),
        steps.attach(slot, target, make=_MKDIR, text=f"{target}: {text}"),
    )
    return Mount(target=target, text=text, attach=attached, named=named)


def _overlay(mount: Overlay, scene: Scene) -> Mount:
    slot = Slot(f"overlay:{mount.target}")
    layers = overlay.Layers(lower=mount.lower, upper=mount.upper, work=mount.work, size=mount.size)
    made = overlay.recipe(layers, slot, scene)
    text = f"overlay over {', '.join(mount.lower)}"
    attach = steps.attach(slot, mount.target, make=_MKDIR, text=f"{mount.target}: {text}")
    return Mount(target=mount.target, text=text, prepare=made.steps, attach=(attach,), actions=made.actions, named=True)


def _directory(mount: Directory, scene: Scene) -> Mount:
    made = [steps.mkdir(mount.target, int(mount.mode, 8))]
    if mount.owned and (scene.uid, scene.gid) != (0, 0):
        made.append(steps.chown(mount.target, scene.uid, scene.gid))
    return Mount(target=mount.target, text="directory", attach=tuple(made), named=True)


def _file(mount: File, scene: Scene) -> Mount:
    content, mode = mount.content.encode(), int(mount.mode, 8)
    text = f"file of {len(content)} bytes"
    if scene.tmpfs_root and not scene.covered(mount.target):
        made = steps.file(mount.target, content, mode)
        return Mount(target=mount.target, text=text, attach=(made,), named=True)
    # the root may be read-only and may have such a file: this one is mounted over it
    place, slot = Slot(f"file:{mount.target}:place"), Slot(f"file:{mount.target}")
    size = max(len(content), 4096)
    prepare: tuple[Step, ...] = (
        steps.new_filesystem(
            "tmpfs", ("mode=755", f"size={size}"), place, attributes=_INERT, phase=Phase.ROOT, rank=ORDER
        ),
        steps.file("/file", content, mode, root=place, phase=Phase.ROOT, rank=ORDER),
        steps.attach(place, "/", root=None, phase=Phase.ROOT, rank=ORDER, text="put a place for a file over the root"),
        steps.open_tree("file", slot, directory=place, recursive=False, rank=ORDER),
        steps.set_attributes(
            slot,
            add=constants.MOUNT_ATTR_RDONLY,
            recursive=False,
            phase=Phase.ROOT,
            rank=ORDER,
            text=f"{mount.target} read-only",
        ),
    )
    attach = steps.attach(slot, mount.target, make=constants.NSJ_ATTACH_MKFILE, text=f"{mount.target}: {text}")
    return Mount(target=mount.target, text=text, prepare=prepare, attach=(attach,), named=True)
