"""The timens plugin: offsets of the monotonic and the boot clock (time_namespaces(7)); never of the wall clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nsjail_py.plugin import Host, Line, Option, Part, Phase, Problem, Purpose, SandboxSpec, constants, hookimpl, steps
from nsjail_py.plugin.namespaces import Namespace, Timens

NAMESPACE = Namespace("timens", constants.CLONE_NEWTIME, "time")

# the file takes no more than one write, made before the first process enters the namespace
OFFSETS = "/proc/self/timens_offsets"


@hookimpl
def nsjail_section() -> tuple[str, type[Timens]]:
    return "timens", Timens


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(flag="--monotonic", metavar="SECONDS", help="add to the monotonic clock", fill=_offset("monotonic")),
        Option(flag="--boottime", metavar="SECONDS", help="add to the boot clock", fill=_offset("boottime")),
    )


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("timens", Timens)
    yield from NAMESPACE.check(_mode(section), host)
    if section.mode.partition(":")[0] in ("path", "pid", "fd", "name") and (section.monotonic or section.boottime):
        yield Problem("$.timens", "a joined time namespace has offsets already", "leave out monotonic and boottime")


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    if purpose == "exec":
        return None
    section = spec.section("timens", Timens)
    part = NAMESPACE.part(_mode(section), host)
    if not part.flags:
        return part
    # no clone flag: offsets cannot be written for a namespace that has a process in it. The caller's own children
    # enter it, here the payload at its fork or exec
    lines = [f"{clock} {_timespec(offset)}" for clock, offset in _offsets(section).items()]
    made = [steps.unshare(constants.CLONE_NEWTIME, phase=Phase.SYSTEM, text="new time namespace", rank=-10)]
    if lines:
        made.append(steps.write_file(OFFSETS, "\n".join(lines).encode(), phase=Phase.SYSTEM, rank=-9))
    return Part(steps=tuple(made))


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    return NAMESPACE.doctor(host)


def _mode(section: Timens) -> str:
    return "on" if section.mode == "off" and (section.monotonic or section.boottime) else section.mode


def _offsets(section: Timens) -> dict[str, float]:
    offsets = {"monotonic": section.monotonic, "boottime": section.boottime}
    return {clock: offset for clock, offset in offsets.items() if offset}


def _timespec(offset: float) -> str:
    seconds, nanoseconds = divmod(round(offset * 1_000_000_000), 1_000_000_000)
    return f"{seconds} {nanoseconds}"


def _offset(clock: str) -> Any:
    def fill(value: str) -> dict[str, Any]:
        return {"timens": {clock: float(value)}}

    return fill
