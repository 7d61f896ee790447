"""The net plugin: the network namespace and what is in it (network_namespaces(7)).

``loopback`` is a new namespace with lo up, ``none`` one with lo down, ``host`` no namespace at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nsjail_py.plugin import Host, Line, Option, Part, Problem, Purpose, SandboxSpec, constants, hookimpl, steps
from nsjail_py.plugin.namespaces import Namespace, Net

NAMESPACE = Namespace("net", constants.CLONE_NEWNET)

#: The words of this plugin for the modes that all namespaces share.
MODES = {"loopback": "on", "none": "on", "host": "off"}


@hookimpl
def nsjail_section() -> tuple[str, type[Net]]:
    return "net", Net


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(
            flag="--net",
            metavar="MODE",
            help="loopback (default), none, host, or a namespace to join: path:FILE, pid:N, name:SANDBOX",
            fill=_fill,
        ),
    )


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    return NAMESPACE.check(_mode(spec), host)


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    if purpose == "exec":
        return None
    mode = _mode(spec)
    part = NAMESPACE.part(mode, host)
    if NAMESPACE.is_new(mode, host) and spec.section("net", Net).mode != "none":
        return Part(flags=part.flags, steps=(steps.loopback(),))
    return part


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    return NAMESPACE.doctor(host)


def _mode(spec: SandboxSpec) -> str:
    mode = spec.section("net", Net).mode
    return MODES.get(mode, mode)


def _fill(value: Any) -> dict[str, Any]:
    return {"net": {"mode": value}}
