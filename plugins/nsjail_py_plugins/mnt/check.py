"""What is wrong with a mnt section on this host, found before anything runs. Reads files, changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from stat import S_ISSOCK

from nsjail_py.plugin import Host, Problem
from nsjail_py.plugin.mounting import (
    Bind,
    Directory,
    Mask,
    Mnt,
    MountSpec,
    Mqueue,
    Overlay,
    OverlayRoot,
    Proc,
    Symlink,
    Sysfs,
    Tmpfs,
)
from nsjail_py_plugins.mnt import sensitive, targets
from nsjail_py_plugins.mnt.overlay import Layers, fits_one_option
from nsjail_py_plugins.mnt.scene import Scene

#: The first kernel with ``lowerdir+``.
_MANY_LAYERS = (6, 8)


def problems(section: Mnt, scene: Scene, host: Host) -> Iterator[Problem]:
    """Every problem."""
    if section.root is not None and section.overlay is not None:
        yield Problem("$.mnt.overlay", "there is a root directory as well", "give one of the two")
    yield from _root(section, host)
    yield from _own_namespaces(section, scene)
    yield from _twice(section)
    for index, mount in enumerate(section.mounts):
        path = f"$.mnt.mounts[{index}]"
        if mount.target.rstrip("/") == "":
            yield Problem(f"{path}.target", "the root is no place for a mount", "use root, overlay or view")
        elif isinstance(mount, Bind):
            yield from _bind(mount, path, scene)
        elif isinstance(mount, Overlay):
            yield from _layers(_of(mount), path, host)
    if section.root is not None and os.path.isdir(section.root.path):
        yield from _targets(section, section.root.path, writable=section.root.writable)
    elif section.overlay is not None and os.path.isdir(section.overlay.lower[0]):
        yield from _targets(section, section.overlay.lower[0], writable=True)


def overlays(section: Mnt) -> Iterator[Layers]:
    """The layers of every overlay of a section."""
    for each in (section.overlay, *section.mounts):
        if isinstance(each, (Overlay, OverlayRoot)):
            yield _of(each)


def _root(section: Mnt, host: Host) -> Iterator[Problem]:
    if section.root is not None:
        path = section.root.path
        found = os.path.realpath(path)
        if not os.path.isdir(path):
            yield _missing("$.mnt.root.path", path, "a directory")
        elif found == "/" or sensitive.reason(found, socket=False):
            yield Problem(
                "$.mnt.root.path",
                f"{path} as the root gives the sandbox the host",
                "leave the root out to have the host's programs read-only",
            )
    if section.overlay is not None:
        yield from _layers(_of(section.overlay), "$.mnt.overlay", host)


def _of(overlay: Overlay | OverlayRoot) -> Layers:
    return Layers(lower=overlay.lower, upper=overlay.upper, work=overlay.work, size=overlay.size)


def _layers(layers: Layers, path: str, host: Host) -> Iterator[Problem]:
    for index, lower in enumerate(layers.lower):
        found = os.path.realpath(lower)
        if not os.path.isdir(lower):
            yield _missing(f"{path}.lower[{index}]", lower, "a directory")
        elif why := sensitive.reason(found, socket=False):
            yield Problem(f"{path}.lower[{index}]", f"{lower} {why}", "name a directory that holds less")
    if not fits_one_option(len(layers.lower)) and host.kernel < _MANY_LAYERS:
        yield Problem(f"{path}.lower", f"this kernel cannot merge {len(layers.lower)} layers", "Linux 6.8 can")
    if layers.work is not None and layers.upper is None:
        yield Problem(f"{path}.work", "without an upper directory there is nothing to work on", "give upper too")
    if layers.upper is None:
        return
    parent = os.path.dirname(layers.upper.rstrip("/"))
    if not os.path.isdir(layers.upper) and not os.path.isdir(parent):
        yield _missing(f"{path}.upper", parent, "a directory")
    work = layers.work_path
    if layers.work is not None and work is not None and not os.path.isdir(os.path.dirname(work.rstrip("/"))):
        yield _missing(f"{path}.work", os.path.dirname(work.rstrip("/")), "a directory")


def _own_namespaces(section: Mnt, scene: Scene) -> Iterator[Problem]:
    wanted: list[tuple[str, MountSpec]] = [(f"$.mnt.mounts[{i}]", mount) for i, mount in enumerate(section.mounts)]
    if section.proc is True:
        wanted.append(("$.mnt.proc", Proc(target="/proc")))
    for path, mount in wanted:
        if isinstance(mount, Proc) and not scene.own_pids:
            yield Problem(
                path,
                "procfs shows a pid namespace, and the sandbox has none of its own",
                'set pid.mode to on, or mnt.proc to "try" to show the caller\'s processes, or to false',
            )
        elif isinstance(mount, Sysfs) and not scene.own_net:
            yield Problem(
                path, "sysfs shows a network namespace, and the sandbox has none of its own", "set net.mode to loopback"
            )
        elif isinstance(mount, Mqueue) and not scene.own_ipc:
            yield Problem(
                path, "mqueue shows an ipc namespace, and the sandbox has none of its own", "set ipc.mode to on"
            )


def _twice(section: Mnt) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, mount in enumerate(section.mounts):
        target = os.path.normpath(mount.target)
        if target in first:
            yield Problem(
                f"$.mnt.mounts[{index}].target",
                f"{target} is already the target of mounts[{first[target]}]",
                "name each target once",
            )
        first.setdefault(target, index)


def _bind(mount: Bind, path: str, scene: Scene) -> Iterator[Problem]:
    if (mount.source is None) == (mount.fd is None):
        yield Problem(path, "a bind has either a source or a descriptor", "give source or fd")
    elif mount.fd is not None:
        if not scene.privileged:
            yield Problem(f"{path}.fd", "an ordinary user can bind by path alone", "give source")
        elif not os.path.exists(f"/proc/self/fd/{mount.fd}"):
            yield Problem(f"{path}.fd", f"descriptor {mount.fd} is not open", "open it before, and keep it open")
    elif mount.source is not None:
        yield from _source(mount, mount.source, path)
    if mount.idmap == "yes" and not scene.privileged:
        yield Problem(f"{path}.idmap", "an ordinary user cannot shift ids", "leave idmap out")


def _source(mount: Bind, source: str, path: str) -> Iterator[Problem]:
    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        if not (mount.optional and isinstance(error, FileNotFoundError)):
            yield Problem(f"{path}.source", f"{source}: {error.strerror}", "create it, or set optional")
        return
    why = sensitive.reason(os.path.realpath(source), socket=S_ISSOCK(mode))
    if why is not None and not mount.sensitive:
        yield Problem(f"{path}.source", f"{source} {why}", "name less, or --bind-sensitive (sensitive = true)")


def _targets(section: Mnt, root: str, *, writable: bool) -> Iterator[Problem]:
    """Where the mounts go, in a root that is there to look at."""
    wanted = [(f"$.mnt.mounts[{index}].target", mount) for index, mount in enumerate(section.mounts)]
    fresh = tuple(mount.target.rstrip("/") + "/" for mount in section.mounts if isinstance(mount, (Tmpfs, Overlay)))
    defaults: list[tuple[str, str, str]] = []
    if section.proc:
        defaults.append(("$.mnt.proc", "/proc", "--proc off"))
    if section.dev:
        defaults.append(("$.mnt.dev", "/dev", "--no-dev"))
    if section.tmp:
        defaults.append(("$.mnt.tmp", "/tmp", "set mnt.tmp to 0"))
    for path, target, without in defaults:
        if target not in {mount.target for mount in section.mounts}:
            yield from _target(path, target, root, writable, f"{without}, ")
            if os.path.islink(root + target):
                yield Problem(path, f"{target} of the root is a symbolic link", "make it a directory")
    for path, mount in wanted:
        # what lies in a mount of the spec is not in the root
        inside = any(mount.target.startswith(prefix) for prefix in fresh) or any(
            isinstance(other, Bind) and mount.target.startswith(other.target.rstrip("/") + "/")
            for other in section.mounts
        )
        if isinstance(mount, Mask) or inside or mount.target.startswith(("/dev/", "/tmp/")):
            continue
        if isinstance(mount, (Directory, Symlink)):
            if not writable:
                yield Problem(path, "nothing can be made in a read-only root", "make it there, --rw or --overlay")
        else:
            yield from _target(path, mount.target, root, writable, "")


def _target(path: str, target: str, root: str, writable: bool, otherwise: str) -> Iterator[Problem]:
    found = targets.find(root, target)
    if found.escape is not None:
        yield Problem(
            path,
            f"{target} goes through the symbolic link {found.escape}, which leads out of the root",
            "name the place itself, or mend the link",
        )
    elif not found.exists and not writable:
        yield Problem(
            path,
            f"{target} does not exist in the read-only root {root}",
            f"create it there, {otherwise}--rw or --overlay",
        )


def _missing(path: str, name: str, kind: str) -> Problem:
    if os.path.exists(name):
        return Problem(path, f"{name} is not {kind}", f"name {kind}")
    return Problem(path, f"{name} does not exist", f"name {kind} that exists")
