"""The user plugin: a user namespace and its id maps (user_namespaces(7)).

Started by root, the sandbox gets a range of host ids of its own, which no other sandbox and no account has; started
by an ordinary user, the payload's id is mapped to the caller, or a range of ``/etc/subuid`` by newuidmap.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nsjail_py.plugin import (
    Host,
    IdMaps,
    IdRange,
    Line,
    Option,
    Part,
    Phase,
    Problem,
    Purpose,
    SandboxSpec,
    Slot,
    Step,
    constants,
    hookimpl,
    identity,
    steps,
)
from nsjail_py.plugin.namespaces import Namespace, joined
from nsjail_py.plugin.sections import Cgroupns, Ipc, Mnt, Net, Pid, Timens, User, Uts
from nsjail_py_plugins.user.groups import WarnOfGroups, kept, powerful
from nsjail_py_plugins.user.maps import SetMaps, TakeRange, WriteMapsByHelper, parse_ranges

NAMESPACE = Namespace("user", constants.CLONE_NEWUSER)

SETTINGS = Slot("user settings")
LIMIT = Slot("user namespace limit")


@hookimpl
def nsjail_section() -> tuple[str, type[User]]:
    return "user", User


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(
            flag="--map",
            metavar="KIND",
            help="which ids exist inside: auto, single, range, keep",
            fill=lambda value: {"user": {"map": value}},
        ),
        Option(flag="--uid-map", metavar="INSIDE:OUTSIDE:COUNT", help="map uids", repeat=True, fill=_explicit("uids")),
        Option(flag="--gid-map", metavar="INSIDE:OUTSIDE:COUNT", help="map gids", repeat=True, fill=_explicit("gids")),
    )


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("user", User)
    yield from NAMESPACE.check(section.mode, host)
    for name in ("uids", "gids"):
        try:
            parse_ranges(getattr(section, name))
        except ValueError as error:
            yield Problem(f"$.user.{name}", str(error), "write INSIDE:OUTSIDE:COUNT")
    if bool(section.uids) != bool(section.gids):
        yield Problem("$.user", "uids and gids are mapped together", "give both maps")
    if identity.mapping(spec, host) == "subids" and not (host.subuids and host.subgids):
        yield Problem(
            "$.user.map",
            "this user has no range in /etc/subuid and /etc/subgid",
            "have root run usermod --add-subuids 100000-165535 --add-subgids 100000-165535, or set user.map to single",
        )
    elif identity.mapping(spec, host) == "subids" and not host.newuidmap:
        yield Problem(
            "$.user.map",
            "newuidmap and newgidmap, which write such maps, are not installed",
            "install them (Debian package uidmap), or set user.map to single",
        )
    if section.mode == "off" and not host.privileged and (others := ", ".join(_new_namespaces(spec))):
        yield Problem(
            "$.user.mode",
            f"without a user namespace an ordinary user can make no other: {others}",
            "set user.mode to on, or the modes of the others to off",
        )
    if section.mode == "off" and section.map != "auto":
        yield Problem("$.user.map", "there is no user namespace to map", "leave out map, or set user.mode to on")


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    section = spec.section("user", User)
    kind = identity.mapping(spec, host)
    part = NAMESPACE.part(section.mode, host)
    if kind == "none":
        become = (_become_joined(host),) if part.actions else ()
        if purpose == "exec":
            return Part(steps=become)
        return Part(steps=(*part.steps, *become), actions=part.actions, warnings=part.warnings)
    uid, gid = identity.payload_ids(spec)
    if purpose == "exec":
        return Part(steps=(_become(section, kind, spec, host),))
    match kind:
        case "range":
            maps: tuple[Any, ...] = (TakeRange(count=section.count),)
        case "subids":
            maps = (SetMaps(maps=_subids(host, uid, gid)), WriteMapsByHelper())
        case "explicit":
            uids, gids = parse_ranges(section.uids), parse_ranges(section.gids)
            maps = (SetMaps(maps=IdMaps(uids, gids, setgroups=host.privileged)),)
        case _:
            single = IdMaps(
                (IdRange(uid, host.uid, 1),), (IdRange(gid, host.gid, 1),), setgroups=identity.may_setgroups(spec, host)
            )
            maps = (SetMaps(maps=single),)
    if not identity.may_setgroups(spec, host) and (further := _further_groups(host)):
        maps = (*maps, WarnOfGroups(gids=further))
    made = [_become(section, kind, spec, host)]
    if not section.nested:
        made += _forbid_nesting(joined(spec.section("mnt", Mnt).mode))
    return Part(flags=part.flags, actions=maps, steps=tuple(made))


@hookimpl
def nsjail_doctor(host: Host) -> Iterable[Line]:
    yield from NAMESPACE.doctor(host)
    if host.privileged:
        yield Line(topic="id ranges", state="yes", detail="each sandbox has 65536 host ids of its own")
    elif host.subuids and host.subgids:
        yield Line(topic="id ranges", state="yes", detail="/etc/subuid and /etc/subgid have ranges of this user")
    else:
        yield Line(
            topic="id ranges",
            state="part",
            detail="one id only: this user has no range in /etc/subuid",
            remedy="usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER (package uidmap)",
        )
    further = _further_groups(host)
    if further and not host.privileged and (names := powerful(further)):
        remedy = "set user.map to range (needs lines in /etc/subuid), or start it as a user who is not in them"
        yield Line(topic="groups", state="part", detail=kept(names), remedy=remedy)


def _become(section: User, kind: str, spec: SandboxSpec, host: Host) -> Step:
    uid, gid = identity.payload_ids(spec)
    zero = kind in ("range", "subids") or (uid, gid) == (0, 0) or (kind == "explicit" and _maps_zero(section))
    drop = constants.NSJ_IDENTITY_DROP_GROUPS if identity.may_setgroups(spec, host) else 0
    return steps.identity(0, 0, drop) if zero else steps.identity(uid, gid, constants.NSJ_IDENTITY_KEEP)


def _further_groups(host: Host) -> tuple[int, ...]:
    return tuple(gid for gid in host.groups if gid != host.gid)


def _new_namespaces(spec: SandboxSpec) -> Iterator[str]:
    """The sections that want a namespace of their own, or would have one if they could."""
    net = spec.section("net", Net).mode
    modes = {
        "mnt": spec.section("mnt", Mnt).mode,
        "pid": spec.section("pid", Pid).mode,
        "uts": spec.section("uts", Uts).mode,
        "ipc": spec.section("ipc", Ipc).mode,
        "net": {"loopback": "on", "none": "on"}.get(net, net),
        "cgroupns": spec.section("cgroupns", Cgroupns).mode,
        "timens": spec.section("timens", Timens).mode,
    }
    return (name for name, mode in modes.items() if mode in ("on", "try"))


def _become_joined(host: Host) -> Step:
    """Into an existing user namespace an ordinary caller enters as whom it is mapped to, which need not be root."""
    if host.privileged:
        return steps.identity(0, 0, constants.NSJ_IDENTITY_DROP_GROUPS)
    return steps.identity(host.uid, host.gid, constants.NSJ_IDENTITY_KEEP)


def _forbid_nesting(mounts_joined: bool) -> Iterator[Step]:
    """A child user namespace is refused to everybody in the new one, whatever a filter says.

    :param mounts_joined: by now paths lead into a joined mount namespace, where /proc/sys may well be read-only; so
        the directory is opened before. Its files are those of the user namespace that opens them, later
    """
    where, name = "/proc/sys/user", "max_user_namespaces"
    if not mounts_joined:
        yield steps.write_file(f"{where}/{name}", b"0", phase=Phase.IDENTITY, rank=50)
        return
    flags = os.O_PATH | os.O_DIRECTORY
    yield steps.open_file(where, flags, SETTINGS, phase=Phase.JOIN, text=f"open the caller's {where}", rank=40)
    text = f"open {name} of the user namespace"
    yield steps.open_file(name, os.O_WRONLY, LIMIT, directory=SETTINGS, phase=Phase.IDENTITY, text=text, rank=50)
    yield steps.write(LIMIT, b"0", phase=Phase.IDENTITY, text=f"write '0' to {name}", rank=51)


def _maps_zero(section: User) -> bool:
    return all(any(each.inside == 0 for each in parse_ranges(ranges)) for ranges in (section.uids, section.gids))


def _subids(host: Host, uid: int, gid: int) -> IdMaps:
    """The payload is the caller; every other id inside comes from the caller's first range."""
    return IdMaps(
        _around(uid, host.uid, host.subuids[0]), _around(gid, host.gid, host.subgids[0]), setgroups=True, helper=True
    )


def _around(inside: int, own: int, spare: tuple[int, int]) -> tuple[IdRange, ...]:
    start, count = spare
    ranges = [IdRange(0, start, min(inside, count)), IdRange(inside, own, 1)]
    if count > inside:
        ranges.append(IdRange(inside + 1, start + inside, count - inside))
    return tuple(each for each in ranges if each.count)


def _explicit(name: str) -> Any:
    def fill(value: str) -> dict[str, Any]:
        parse_ranges((value,))
        return {"user": {name: [value]}}

    return fill
