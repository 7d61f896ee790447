"""The ipc plugin: System V objects and POSIX message queues of the sandbox's own (ipc_namespaces(7))."""

from __future__ import annotations

from collections.abc import Iterable

from nsjail_py.plugin import Host, Line, Part, Problem, Purpose, SandboxSpec, constants, hookimpl
from nsjail_py.plugin.namespaces import Ipc, Namespace

NAMESPACE = Namespace("ipc", constants.CLONE_NEWIPC)


@hookimpl
def nsjail_section() -> tuple[str, type[Ipc]]:
    return "ipc", Ipc


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    return NAMESPACE.check(spec.section("ipc", Ipc).mode, host)


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    return None if purpose == "exec" else NAMESPACE.part(spec.section("ipc", Ipc).mode, host)


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    return NAMESPACE.doctor(host)
