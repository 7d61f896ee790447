"""The pid plugin: a pid namespace and the init in it (pid_namespaces(7))."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nsjail_py.plugin import (
    Host,
    Line,
    Option,
    Part,
    Phase,
    Problem,
    Purpose,
    SandboxSpec,
    Slot,
    constants,
    hookimpl,
    identity,
    steps,
)
from nsjail_py.plugin.namespaces import Namespace, Pid, User, joined

NAMESPACE = Namespace("pid", constants.CLONE_NEWPID)

#: The lock on the sandbox's id range, where the user plugin takes one. Init holds it, since it may outlive the owner.
RANGE = Slot("range")


@hookimpl
def nsjail_section() -> tuple[str, type[Pid]]:
    return "pid", Pid


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (Option(flag="--no-init", help="the program itself is pid 1", fill=lambda _: {"pid": {"init": False}}),)


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("pid", Pid)
    yield from NAMESPACE.check(section.mode, host)
    if not section.init and not NAMESPACE.is_new(section.mode, host):
        yield Problem("$.pid.init", "only the first process of a new pid namespace can be pid 1", "set pid.mode to on")
    elif not section.init and not section.die_with_owner and identity.mapping(spec, host) == "range":
        yield Problem(
            "$.pid.init",
            "without init nobody holds the sandbox's range of host ids once its owner has ended",
            "set pid.init or pid.die_with_owner to true, or user.map to single",
        )


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    section = spec.section("pid", Pid)
    facts = {"die_with_owner": section.die_with_owner}
    if purpose == "exec":
        waiting = steps.init(constants.NSJ_INIT_OUTSIDE, uid=_uid_apart(spec, host))
        return Part(steps=(waiting,), facts={**facts, "init": True})
    part = NAMESPACE.part(section.mode, host)
    own = NAMESPACE.is_new(section.mode, host)
    facts["own_pids"] = own
    keep = RANGE if identity.mapping(spec, host) == "range" else None
    if own and section.init:
        return Part(flags=part.flags, steps=(steps.init(0, keep),), facts={**facts, "init": True})
    if own and section.die_with_owner:
        # a payload that is pid 1 has nobody in its namespace that could watch the owner: the stage stays outside
        watched = (
            steps.unshare(constants.CLONE_NEWPID, phase=Phase.IDENTITY, text="new pid namespace", rank=90),
            steps.fork(rank=91),
        )
        return Part(steps=watched, facts={**facts, "init": False})
    if own:
        return Part(flags=part.flags, facts={**facts, "init": False})
    flags = constants.NSJ_INIT_OUTSIDE
    if not joined(section.mode):
        # in a joined namespace orphans go to that one's own init, which no subreaper outside can change
        flags |= constants.NSJ_INIT_REAPER
    return Part(
        steps=(*part.steps, steps.init(flags, keep, uid=_uid_apart(spec, host))),
        actions=part.actions,
        warnings=part.warnings,
        facts={**facts, "init": True},
    )


def _uid_apart(spec: SandboxSpec, host: Host) -> int:
    """An id of the range that the payload does not have, for an init that it can see; 0 where there is none to have."""
    if identity.mapping(spec, host) != "range" or NAMESPACE.is_new(spec.section("pid", Pid).mode, host):
        return 0
    last = spec.section("user", User).count - 1
    return last if last != identity.payload_ids(spec)[0] else max(0, last - 1)


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    return NAMESPACE.doctor(host)
