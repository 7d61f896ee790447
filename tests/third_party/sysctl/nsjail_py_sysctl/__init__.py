"""The sysctl plugin: kernel settings of a sandbox's own (sysctl(8), PR_SET_TIMERSLACK), and leases on the host."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nsjail_py.plugin import (
    Command,
    Evidence,
    Host,
    Line,
    LiveProcess,
    Option,
    Part,
    Phase,
    Problem,
    Purpose,
    SandboxSpec,
    UnsupportedError,
    constants,
    hookimpl,
    steps,
)
from nsjail_py.plugin.namespaces import Ipc, Namespace, Net
from nsjail_py_sysctl.lease import TakeLease, give_back, lease_of, lease_on_record
from nsjail_py_sysctl.section import Sysctl
from nsjail_py_sysctl.verb import show

__all__ = ["Sysctl"]

PR_SET_TIMERSLACK = 29

#: Which namespace has which settings for itself; all others belong to the whole machine.
OWNERS = {
    "net.": Namespace("net", constants.CLONE_NEWNET),
    "kernel.msg": Namespace("ipc", constants.CLONE_NEWIPC),
    "kernel.sem": Namespace("ipc", constants.CLONE_NEWIPC),
    "kernel.shm": Namespace("ipc", constants.CLONE_NEWIPC),
    "fs.mqueue.": Namespace("ipc", constants.CLONE_NEWIPC),
}


@hookimpl
def nsjail_section() -> tuple[str, type[Sysctl]]:
    return "sysctl", Sysctl


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(flag="--sysctl", metavar="NAME=VALUE", help="a kernel setting inside", repeat=True, fill=_value),
        Option(
            flag="--timer-slack",
            metavar="NS",
            help="by how much its timers may be late",
            fill=lambda value: {"sysctl": {"timer_slack": int(value)}},
        ),
        Option(
            flag="--leases",
            metavar="DIR",
            help="a directory in which a file stands for it while it lives",
            fill=lambda value: {"sysctl": {"leases": os.path.abspath(value)}},
        ),
    )


@hookimpl
def nsjail_commands() -> Sequence[Command]:
    return (Command(name="sysctl", help="show kernel settings as a new sandbox would have them", run=show),)


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("sysctl", Sysctl)
    for name in section.values:
        path = f"$.sysctl.values.{name}"
        owner = next((each for prefix, each in OWNERS.items() if name.startswith(prefix)), None)
        if owner is None:
            yield Problem(path, "belongs to the whole machine, not to a namespace", "set it on the host, as root")
        elif not owner.is_new(_mode(spec, owner), host):
            hint = f"set {owner.section}.mode to on"
            yield Problem(path, f"needs a {owner.section} namespace of the sandbox's own", hint)
    if section.leases is not None and not os.access(section.leases, os.W_OK | os.X_OK):
        yield Problem(
            "$.sysctl.leases", f"no file can be made in {section.leases}", "make the directory, or name another"
        )


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    section = spec.section("sysctl", Sysctl)
    made = []
    if section.timer_slack:
        # no step of the stage's own does this, so it is a system call by number. In phase LIMIT only the payload is
        # concerned, and a program that joins later is planned the same
        made.append(
            steps.syscall(
                constants.SYS_prctl,
                PR_SET_TIMERSLACK,
                section.timer_slack,
                phase=Phase.LIMIT,
                text=f"timer slack {section.timer_slack} ns",
            )
        )
    if purpose == "exec":
        return Part(steps=tuple(made))
    for name, value in section.values.items():
        made.append(steps.write_file(_file(name), value.encode(), phase=Phase.SYSTEM))
    if section.leases is None:
        return Part(steps=tuple(made))
    # what is on the host must be on record first: the fact `sweep` sees to it, the other tells the sweep where
    facts = {"sweep": True, "leases": section.leases}
    return Part(steps=tuple(made), actions=(TakeLease(folder=section.leases),), facts=facts)


@hookimpl
def nsjail_explain(error: OSError, owner: str) -> str | None:
    if owner != "sysctl" or not error.filename:
        return None
    return {
        errno.ENOENT: "this kernel has no such setting; a module may be missing",
        errno.EACCES: "the kernel keeps this setting for the machine's own root",
        errno.EINVAL: "the setting does not take this value",
    }.get(error.errno or 0)


@hookimpl
def nsjail_update(process: LiveProcess, changes: Mapping[str, Any]) -> None:
    fixed = changes.keys() - {"timer_slack"}
    if fixed:
        raise UnsupportedError(
            f"sysctl.{min(fixed)} cannot be changed while the sandbox runs", hint="start another one"
        )
    with open(f"/proc/{process.pid}/timerslack_ns", "w", encoding="ascii") as file:
        file.write(str(changes["timer_slack"]))


@hookimpl
def nsjail_usage(process: LiveProcess) -> Mapping[str, Any]:
    lease = lease_of(process)
    if lease is None or not os.path.exists(lease):
        return {}
    return {"leased": time.time() - os.stat(lease).st_mtime}


@hookimpl
def nsjail_verdict(process: LiveProcess, evidence: Evidence) -> str | None:
    lease = lease_of(process)
    if lease is None or not os.WIFSIGNALED(evidence.status) or os.path.exists(lease):
        return None
    return "revoked"


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    if "net" in host.namespaces:
        yield Line(topic="sysctl", state="yes", detail="a sandbox can have net.* and ipc settings of its own")
    else:
        yield Line(
            topic="sysctl",
            state="no",
            detail="a sandbox has no network namespace, so no settings of its own",
            remedy=host.namespace_remedy("net"),
        )


@hookimpl
def nsjail_sweep(record: Mapping[str, Any]) -> Iterable[str]:
    lease = lease_on_record(record)
    if lease is not None and give_back(lease):
        yield f"gave back the lease {lease}"


def _mode(spec: SandboxSpec, owner: Namespace) -> str:
    if owner.section == "net":
        mode = spec.section("net", Net).mode
        return {"loopback": "on", "none": "on", "host": "off"}.get(mode, mode)
    return spec.section("ipc", Ipc).mode


def _file(name: str) -> str:
    return f"/proc/sys/{name.replace('.', '/')}"


def _value(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"not NAME=VALUE: {text}")
    return {"sysctl": {"values": {name: value}}}
