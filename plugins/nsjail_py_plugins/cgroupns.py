"""The cgroupns plugin: the sandbox's own control group looks like the root of the tree (cgroup_namespaces(7))."""

from __future__ import annotations

from collections.abc import Iterable

from nsjail_py.plugin import Host, Line, Part, Phase, Problem, Purpose, SandboxSpec, constants, hookimpl, steps
from nsjail_py.plugin.namespaces import Cgroupns, Namespace

NAMESPACE = Namespace("cgroupns", constants.CLONE_NEWCGROUP, "cgroup")


@hookimpl
def nsjail_section() -> tuple[str, type[Cgroupns]]:
    return "cgroupns", Cgroupns


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    return NAMESPACE.check(spec.section("cgroupns", Cgroupns).mode, host)


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    if purpose == "exec":
        return None
    section = spec.section("cgroupns", Cgroupns)
    part = NAMESPACE.part(section.mode, host)
    if not part.flags:
        return part
    # not by the clone: the namespace's root is the group the process is in at that moment, and on v1 the child
    # enters its groups only after it was born; made too early, paths inside would begin with /../..
    return Part(steps=(steps.unshare(constants.CLONE_NEWCGROUP, phase=Phase.SYSTEM, text="new cgroup namespace"),))


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    return NAMESPACE.doctor(host)
