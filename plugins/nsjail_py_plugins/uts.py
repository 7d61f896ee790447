"""The uts plugin: a host name and a domain name of the sandbox's own (uts_namespaces(7))."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nsjail_py.plugin import Host, Line, Option, Part, Problem, Purpose, SandboxSpec, constants, hookimpl, steps
from nsjail_py.plugin.namespaces import Namespace, Uts

NAMESPACE = Namespace("uts", constants.CLONE_NEWUTS)


@hookimpl
def nsjail_section() -> tuple[str, type[Uts]]:
    return "uts", Uts


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(
            flag="--hostname",
            metavar="NAME",
            help="the host name inside (sandbox)",
            fill=lambda value: {"uts": {"hostname": value}},
        ),
        Option(
            flag="--domainname",
            metavar="NAME",
            help="the NIS domain name inside",
            fill=lambda value: {"uts": {"domainname": value}},
        ),
    )


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("uts", Uts)
    yield from NAMESPACE.check(section.mode, host)
    if not NAMESPACE.is_new(section.mode, host):
        changed = [name for name in ("hostname", "domainname") if getattr(section, name) != getattr(Uts(), name)]
        for name in changed:
            yield Problem(
                f"$.uts.{name}",
                "needs a uts namespace of the sandbox's own",
                f"leave out {name}, or set uts.mode to on",
            )


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    if purpose == "exec":
        return None
    section = spec.section("uts", Uts)
    part = NAMESPACE.part(section.mode, host)
    if not NAMESPACE.is_new(section.mode, host):
        return part
    names = [steps.hostname(section.hostname)]
    if section.domainname is not None:
        names.append(steps.domainname(section.domainname))
    return Part(flags=part.flags, steps=tuple(names))


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    return NAMESPACE.doctor(host)
