"""Overlays: directories merged, with changes kept apart (the kernel's Documentation/filesystems/overlayfs.rst).

The child mounts the overlay, so that a sandbox of an ordinary user has them too. Its layers come as clones, id-mapped
where the caller may do that, and overlayfs wants them attached, by path. So they are attached in a small tmpfs that
lies over ``/`` until pivot_root(2) discards it. The process's own root stays what it was and never enters that tmpfs,
but ``/..`` does: from the root, ``..`` stays at the root and then follows what is mounted on it (path_resolution(7)).
No directory of the host is needed or covered.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence

import msgspec

from nsjail_py.plugin import Action, Launch, Phase, Slot, Step, constants, steps
from nsjail_py.plugin.mounting import size_bytes
from nsjail_py_plugins.mnt.scene import Scene
from nsjail_py_plugins.mnt.sources import RANK, CloneSource

#: Every step here has this rank, so that they stay in the order in which they are written.
ORDER = 10

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

#: fsconfig(2) takes at most this many bytes of a value; more layers need ``lowerdir+``, which Linux has since 6.8.
_VALUE = 255


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """What an overlay is made of.

    :param lower: host directories, the topmost first
    :param upper: where changes are kept, or ``None``
    :param work: overlayfs's own directory beside it, or ``None``
    :param size: most bytes of changes that are thrown away
    """

    lower: tuple[str, ...]
    upper: str | None
    work: str | None
    size: int | str

    @property
    def work_path(self) -> str | None:
        """The work directory, where changes are kept."""
        if self.upper is None or self.work is not None:
            return self.work
        return work_beside(self.upper)


def work_beside(upper: str) -> str:
    """The work directory of an upper one: beside it, since both must be on one mount."""
    directory, name = os.path.split(upper.rstrip("/"))
    return os.path.join(directory, f".{name}.work")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to have an overlay in a slot, by the end of phase ROOT."""

    actions: tuple[Action, ...]
    steps: tuple[Step, ...]


def recipe(layers: Layers, into: Slot, scene: Scene) -> Recipe:
    """Everything that makes one overlay."""
    place = Slot(f"{into.name}:layers")
    actions: list[Action] = []
    made = [
        steps.new_filesystem(
            "tmpfs", ("mode=755", f"size={size_bytes(layers.size)}"), place, phase=Phase.ROOT, rank=ORDER
        ),
        steps.attach(place, "/", root=None, phase=Phase.ROOT, rank=ORDER, text="put a place for layers over the root"),
    ]
    lowers = [_name(number) for number in range(len(layers.lower))]
    for name, source in zip(lowers, layers.lower, strict=True):
        action, fetched = _layer(source, Slot(f"{into.name}:{name}"), place, name, scene, writable=False)
        actions += action
        made += fetched
    upper, work = "/../upper", "/../work"
    if layers.upper is not None and layers.work_path is not None:
        both = os.path.commonpath((layers.upper, layers.work_path))
        keep = KeepChanges(upper=layers.upper, work=layers.work_path, own=layers.work is None)
        action, fetched = _layer(both, Slot(f"{into.name}:kept"), place, "kept", scene, writable=True)
        actions += (keep, *action)
        made += fetched
        upper = os.path.join("/../kept", os.path.relpath(layers.upper, both))
        work = os.path.join("/../kept", os.path.relpath(layers.work_path, both))
    else:
        made += [steps.mkdir(f"/{name}", root=place, phase=Phase.ROOT, rank=ORDER) for name in ("upper", "work")]
    # user.overlay.* in place of trusted.overlay.*, which a user namespace may not write; always, so that kept changes
    # mean the same to every later sandbox
    options = ("userxattr", *_lower_options(lowers), f"upperdir={upper}", f"workdir={work}")
    made.append(
        steps.new_filesystem("overlay", options, into, attributes=scene.attributes, phase=Phase.ROOT, rank=ORDER)
    )
    return Recipe(actions=tuple(actions), steps=tuple(made))


def _layer(
    source: str, slot: Slot, place: Slot, name: str, scene: Scene, *, writable: bool
) -> tuple[list[Action], list[Step]]:
    """A layer's clone, attached in the place for layers."""
    actions: list[Action] = []
    fetched: list[Step] = []
    if scene.privileged:
        attributes = scene.attributes | (0 if writable else constants.MOUNT_ATTR_RDONLY)
        actions.append(
            CloneSource(
                slot=slot, source=source, recursive=False, attributes=attributes, shift="native", writable=writable
            )
        )
    else:
        # recursive, or the kernel would have to show what the mounts on it were meant to hide (mount_namespaces(7))
        fetched.append(steps.open_tree(source, slot, rank=ORDER))
    made = f"{'keep changes in' if writable else 'layer'} {source}"
    fetched.append(
        steps.attach(
            slot,
            f"/{name}",
            make=constants.NSJ_ATTACH_MKDIR,
            root=place,
            phase=Phase.ROOT,
            rank=ORDER,
            text=made,
        )
    )
    return actions, fetched


def _name(number: int) -> str:
    """A short name: all of them together must fit into one option."""
    return _DIGITS[number] if number < 36 else _DIGITS[number // 36] + _DIGITS[number % 36]


def _lower_options(names: Sequence[str]) -> tuple[str, ...]:
    paths = [f"/../{name}" for name in names]
    joined = ":".join(paths)
    return (f"lowerdir={joined}",) if len(joined) <= _VALUE else tuple(f"lowerdir+={path}" for path in paths)


def fits_one_option(count: int) -> bool:
    """Whether this many layers need nothing newer than the one option."""
    return len(_lower_options([_name(number) for number in range(count)])) == 1


class KeepChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Make the upper directory and its work directory, and hold them against a second sandbox.

    Two overlays on one upper directory corrupt each other, and the kernel only warns.

    :param upper: where changes are kept; it stays
    :param work: its work directory
    :param own: the work directory is ours, and goes away at the end
    """

    upper: str
    work: str
    own: bool
    phase: Phase = Phase.HOST
    rank: int = RANK - 1
    fills: tuple[Slot, ...] = ()

    @property
    def text(self) -> str:
        return f"keep changes in {self.upper}, with {self.work} for overlayfs itself"

    def run(self, launch: Launch) -> None:
        for path in (self.upper, self.work):
            if not os.path.isdir(path):
                os.mkdir(path, 0o755 if path == self.upper else 0o700)
        held = os.open(self.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(held)
            raise OSError(error.errno, "another sandbox keeps its changes there", self.upper) from error
        launch.on_end(lambda: os.close(held))
        if self.own:
            launch.on_end(lambda: remove_work(self.work))


def sweep_work(path: str) -> bool:
    """The same for a dead sandbox, unless another has taken its upper directory, and with it this one, since.

    :returns: whether it was there and nobody's
    """
    folder, name = os.path.split(path)
    try:
        held = os.open(
            os.path.join(folder, name.removeprefix(".").removesuffix(".work")),
            os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
        )
    except FileNotFoundError:
        return remove_work(path)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return remove_work(path)
    except BlockingIOError:
        return False
    finally:
        os.close(held)


def remove_work(path: str) -> bool:
    """Remove a work directory and what overlayfs left in it.

    :returns: whether it was there
    """
    if not os.path.isdir(path):
        return False
    import shutil  # with all its archive formats, and only kept changes need it

    inner = os.path.join(path, "work")
    if os.path.isdir(inner):
        os.chmod(inner, 0o700)  # overlayfs makes it 000, which also locks out its owner
    shutil.rmtree(path)
    return True
