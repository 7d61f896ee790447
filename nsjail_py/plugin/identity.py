"""Who the payload is, for the plugins that need to agree on it: ids inside, and how they are mapped."""

from __future__ import annotations

from typing import Literal

from nsjail_py.linux.host import Host
from nsjail_py.spec.namespaces import User
from nsjail_py.spec.process import Process
from nsjail_py.spec.spec import SandboxSpec
from nsjail_py.spec.units import parse_mode

#: ``none`` no new user namespace; ``single`` the payload's id alone; ``range`` a host range that nobody uses, taken
#: by a privileged caller; ``subids`` the caller's ranges of ``/etc/subuid``; ``explicit`` as the spec lists them;
#: ``keep`` the caller's own ids for the payload.
Mapping = Literal["none", "single", "range", "subids", "explicit", "keep"]


def payload_ids(spec: SandboxSpec) -> tuple[int, int]:
    """Uid and gid of the payload inside. The engine has made ``process.user`` numeric before any plugin plans."""
    uid, _, gid = (spec.section("process", Process).user or "0:0").partition(":")
    return int(uid), int(gid or uid)


def has_user_namespace(spec: SandboxSpec, host: Host) -> bool:
    """Whether the sandbox has a new user namespace."""
    kind = parse_mode(spec.section("user", User).mode).kind
    return kind == "on" or (kind == "try" and "user" in host.namespaces)


def mapping(spec: SandboxSpec, host: Host) -> Mapping:
    """How ids are mapped."""
    section = spec.section("user", User)
    if not has_user_namespace(spec, host):
        return "none"
    if section.uids or section.gids:
        return "explicit"
    if section.map == "keep":
        return "keep"
    if host.privileged:
        return "single" if section.map == "single" else "range"
    if section.map == "range":
        return "subids"
    groups = spec.section("process", Process).groups
    if section.map == "auto" and groups and host.subuids and host.subgids:
        return "subids"
    return "single"


def may_setgroups(spec: SandboxSpec, host: Host) -> bool:
    """Whether the set-up can drop and set supplementary groups.

    An unprivileged writer of a gid map must deny setgroups(2) first (user_namespaces(7), CVE-2014-8989).
    """
    if mapping(spec, host) in ("range", "subids"):
        return True
    return host.privileged
