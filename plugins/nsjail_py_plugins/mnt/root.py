"""The new root: fetched, made or merged in phase ROOT, entered in PIVOT, closed in SEAL."""

from __future__ import annotations

import msgspec

from nsjail_py.plugin import Action, Phase, Step, constants, steps
from nsjail_py.plugin.mounting import Mask, OverlayRoot, Root, size_bytes
from nsjail_py_plugins.mnt import dev, overlay
from nsjail_py_plugins.mnt.scene import Scene
from nsjail_py_plugins.mnt.sources import CloneSource


class RootRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to have the new root."""

    actions: tuple[Action, ...]
    steps: tuple[Step, ...]


def recipe(scene: Scene) -> RootRecipe:
    """Everything from the first propagation change to the sealed root."""
    section = scene.section
    if section.root is not None:
        actions, fetched = _directory(section.root, scene)
    elif section.overlay is not None:
        actions, fetched = _overlay(section.overlay, scene)
    else:
        actions, fetched = (), (_own(scene),)
    around = (
        steps.propagation("/", constants.MS_PRIVATE),
        *fetched,
        steps.attach_root(),
        steps.pivot(),
        *_seal(scene),
    )
    return RootRecipe(actions=actions, steps=around)


def _directory(root: Root, scene: Scene) -> tuple[tuple[Action, ...], tuple[Step, ...]]:
    attributes = scene.attributes | (0 if root.writable else constants.MOUNT_ATTR_RDONLY)
    if scene.privileged:
        clone = CloneSource(
            slot=steps.ROOT,
            source=root.path,
            attributes=attributes,
            shift="native" if scene.mapped else "none",
            writable=root.writable,
            guarded=True,
        )
        return (clone,), ()
    kind = "writable" if root.writable else "read-only"
    return (), (
        steps.open_tree(root.path, steps.ROOT, rank=overlay.ORDER),
        steps.set_attributes(
            steps.ROOT,
            add=attributes,
            phase=Phase.ROOT,
            rank=overlay.ORDER,
            text=f"{root.path} {kind}, without devices",
        ),
    )


def _overlay(root: OverlayRoot, scene: Scene) -> tuple[tuple[Action, ...], tuple[Step, ...]]:
    layers = overlay.Layers(lower=root.lower, upper=root.upper, work=root.work, size=root.size)
    made = overlay.recipe(layers, steps.ROOT, scene)
    return made.actions, made.steps


def _own(scene: Scene) -> Step:
    options = ("mode=755", f"size={size_bytes(scene.section.size)}")
    attributes = constants.MOUNT_ATTR_NOSUID | constants.MOUNT_ATTR_NODEV
    return steps.new_filesystem(
        "tmpfs", options, steps.ROOT, attributes=attributes, phase=Phase.ROOT, rank=overlay.ORDER
    )


def _seal(scene: Scene) -> tuple[Step, ...]:
    section = scene.section
    sealed: list[Step] = []
    readonly = tuple(path for path in section.readonly if _shown(path, scene))
    if readonly:
        sealed.append(steps.readonly(readonly))
    masks = tuple(path for path in section.masks if _shown(path, scene))
    masks += tuple(mount.target for mount in section.mounts if isinstance(mount, Mask))
    if masks:
        sealed.append(steps.mask(masks, dev.covers(scene)))
    if scene.tmpfs_root:
        sealed.append(
            steps.set_attributes(
                "/",
                add=constants.MOUNT_ATTR_RDONLY,
                recursive=False,
                phase=Phase.SEAL,
                rank=20,
                text="read-only root; what is mounted in it keeps its own",
            )
        )
    return tuple(sealed)


def _shown(path: str, scene: Scene) -> bool:
    """Whether a path of the default lists can exist: those of procfs and sysfs only where they are mounted."""
    if path.startswith("/proc/"):
        return bool(scene.section.proc) or any(mount.target == "/proc" for mount in scene.section.mounts)
    if path.startswith("/sys/"):
        return any(mount.target == "/sys" for mount in scene.section.mounts)
    return True
