"""A machine as it was recorded, seen by root and by an ordinary user, and the plans of the plugin for it."""

from __future__ import annotations

from typing import Any

import msgspec

from nsjail_py.linux import constants as c
from nsjail_py.linux.host import Host
from nsjail_py.plan.mounttable import order
from nsjail_py.plan.part import Mount, Part, Step
from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.process import Process
from nsjail_py.spec.section import Section
from nsjail_py.spec.spec import SandboxSpec
from nsjail_py_plugins import mnt

_KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time")
_ALL_IDS = [[0, 0, 4294967295]]

ROOT = Host.from_dict(
    {
        "capabilities": (1 << 41) - 1,
        "cgroups": "v2",
        "chrooted": False,
        "container": None,
        "filesystems": ["ext4", "overlay", "proc", "sysfs", "tmpfs"],
        "gid": 0,
        "gid_map": _ALL_IDS,
        "groups": [],
        "kernel": [6, 1],
        "landlock_abi": 2,
        "machine": "x86_64",
        "memfd_noexec": 0,
        "namespace_limits": dict.fromkeys(_KINDS, 1000),
        "newuidmap": True,
        "release": "6.1.0-18-amd64",
        "seccomp_actions": ["allow", "errno"],
        "subgids": [],
        "subuids": [],
        "syscalls": ["open_tree"],
        "uid": 0,
        "uid_map": _ALL_IDS,
        "user_namespace_error": 0,
        "userns_confined": False,
        "userns_sysctl": "1",
        "view": [
            [["/bin", "usr/bin", False], ["/lib32", None, True], ["/usr", None, True]],
            [
                ["/etc/ld.so.cache", None, False],
                ["/etc/localtime", "/usr/share/zoneinfo/Etc/UTC", False],
                ["/etc/resolv.conf", None, False],
                ["/etc/ssl/certs", None, True],
            ],
        ],
    }
)
USER = ROOT.replace(uid=1234, gid=1234, capabilities=0)
#: The same machine with a kernel that clones detached mounts.
NEWER = ROOT.replace(kernel=(6, 18), release="6.18.1")


def spec(section: Mnt | None = None, user: str = "1000:1000", **sections: Section) -> SandboxSpec:
    """A spec as the engine hands it to plugins: ``process.user`` is numeric."""
    return SandboxSpec(mnt=section or Mnt(), process=Process(user=user), **sections)


def part(host: Host, section: Mnt | None = None, **more: Any) -> Part:
    """What the plugin plans."""
    made = mnt.nsjail_plan(spec(section, **more), host, "start")
    assert made is not None
    return made


def mount(made: Part, target: str) -> Mount:
    """The mount that takes effect on a target."""
    return {each.target: each for _, each in order(("mnt", each) for each in made.mounts)}[target]


def shape(steps: tuple[Step, ...]) -> list[tuple[Any, ...]]:
    """Opcode names and arguments."""
    names = {getattr(c, name): name.removeprefix("NSJ_OP_") for name in dir(c) if name.startswith("NSJ_OP_")}
    return [(names[step.op], *step.args) for step in steps]


def facts(action: object) -> dict[str, Any]:
    """What an action was given that is not its default."""
    assert isinstance(action, msgspec.Struct)
    fields = msgspec.structs.fields(type(action))
    return {
        field.name: getattr(action, field.name)
        for field in fields
        if field.name not in ("phase", "rank") and getattr(action, field.name) != field.default
    }
