"""Machines and users as they were recorded, and specs as plugins are given them: with the payload's ids settled."""

from __future__ import annotations

from typing import Any

from nsjail_py.errors import Problem
from nsjail_py.linux.host import Host
from nsjail_py.plan.part import Part
from nsjail_py.plugin import SandboxSpec, Section
from nsjail_py.plugin.sections import Process
from tests.plugins.mnt.hosts import ROOT, USER

__all__ = ["NO_USER_NAMESPACE", "ROOT", "SUBIDS", "USER", "part", "problems", "spec"]

SUBIDS = USER.replace(subuids=((100000, 65536),), subgids=((200000, 65536),))
#: An ordinary user where the distribution forbids user namespaces to them.
NO_USER_NAMESPACE = USER.replace(user_namespace_error=1, userns_sysctl="0")


def spec(**sections: Section) -> SandboxSpec:
    """A spec whose payload is 1000:1000, unless its process section says otherwise."""
    return SandboxSpec(**{"process": Process(user="1000:1000"), **sections})


def _taken(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a hook takes; pluggy leaves out the others."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return {name: arguments[name] for name in names}


def part(plugin: Any, wanted: SandboxSpec, host: Host = ROOT, purpose: str = "start") -> Part | None:
    """What a plugin plans."""
    arguments = {"spec": wanted, "host": host, "purpose": purpose}
    planned: Part | None = plugin.nsjail_plan(**_taken(plugin.nsjail_plan, arguments))
    return planned


def problems(plugin: Any, wanted: SandboxSpec, host: Host = ROOT) -> list[Problem]:
    """What a plugin finds wrong."""
    return list(plugin.nsjail_check(**_taken(plugin.nsjail_check, {"spec": wanted, "host": host})))
