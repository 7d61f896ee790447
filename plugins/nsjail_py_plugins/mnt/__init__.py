"""The mnt plugin: the mount namespace, its root and everything mounted in it (mount_namespaces(7)).

Started by root, the parent clones and id-maps each source and hands it over by descriptor; started by an ordinary
user, the child clones in its own mount namespace. The rest is the same: the new root goes over the old one, mounts
follow in the order of their targets, pivot_root(2) discards the old one, masks and read-only roots seal the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nsjail_py.plugin import Host, Line, Mount, Option, Part, Problem, Purpose, SandboxSpec, hookimpl
from nsjail_py.plugin.mounting import Dev, HostView, Mnt, Tmpfs
from nsjail_py_plugins.mnt import check, dev, explain, host_view, kinds, options, root
from nsjail_py_plugins.mnt.overlay import sweep_work
from nsjail_py_plugins.mnt.scene import MNT, Scene, scene


@hookimpl
def nsjail_section() -> tuple[str, type[Mnt]]:
    return "mnt", Mnt


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return options.OPTIONS


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("mnt", Mnt)
    yield from MNT.check(section.mode, host)
    if MNT.is_new(section.mode, host):
        yield from check.problems(section, scene(spec, host), host)
    elif section.root is not None or section.overlay is not None or section.mounts:
        yield Problem(
            "$.mnt.mode",
            f"{section.mode}: a root and mounts need a mount namespace of the sandbox's own",
            "set mnt.mode to on, or leave out root, overlay and mounts",
        )


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    if purpose == "exec":
        return None
    section = spec.section("mnt", Mnt)
    part = MNT.part(section.mode, host)
    if not MNT.is_new(section.mode, host):
        return part
    seen = scene(spec, host)
    made = root.recipe(seen)
    work = tuple(_work_directories(section))
    return Part(
        flags=part.flags,
        steps=made.steps,
        actions=made.actions,
        mounts=tuple(_mounts(seen, host.view)),
        facts={"work_directories": work} | ({"sweep": True} if work else {}),
    )


@hookimpl
def nsjail_explain(error: OSError, owner: str, spec: SandboxSpec, host: Host) -> str | None:
    return explain.hint(error, spec, host) if owner == "mnt" else None


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    yield from MNT.doctor(host)
    yield from explain.doctor(host)


@hookimpl
def nsjail_sweep(record: Mapping[str, Any]) -> Iterable[str]:
    for path in record["facts"].get("work_directories", ()):
        if sweep_work(path):
            yield f"removed the work directory {path}"


def _mounts(seen: Scene, facts: HostView) -> Iterator[Mount]:
    """What every view has, what the host view has besides, and what the spec names."""
    section = seen.section
    if section.proc is not False:
        yield kinds.proc("/proc", section.proc, seen, named=False)
    if section.dev:
        yield dev.recipe("/dev", Dev(target="/dev").shm, seen, named=False)
    if section.tmp:
        yield kinds.tmpfs(Tmpfs(target="/tmp", size=section.tmp), seen, named=False)
    if seen.view == "host":
        yield from host_view.mounts(facts, seen)
    for mount in section.mounts:
        made = kinds.recipe(mount, seen)
        if made is not None:
            yield made


def _work_directories(section: Mnt) -> Iterator[str]:
    """Those that are made for one launch, for the sweeper."""
    for layers in check.overlays(section):
        if layers.work is None and layers.work_path is not None:
            yield layers.work_path
