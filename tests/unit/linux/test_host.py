"""The host record: true of this machine, and replayable on another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux import host as module
from nsjail_py.linux.host import Host
from nsjail_py.linux.idmap import IdRange
from tests.conftest import OrdinaryUser


def test_facts_of_this_process() -> None:
    host = Host.probe()
    assert (host.uid, host.gid, list(host.groups)) == (os.geteuid(), os.getegid(), os.getgroups())
    assert host.release.startswith(f"{host.kernel[0]}.{host.kernel[1]}")
    assert host.machine == os.uname().machine
    assert {"proc", "tmpfs"} <= host.filesystems
    assert set(host.namespace_limits) == {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} & {
        path.name for path in Path("/proc/self/ns").iterdir()
    }
    assert host.cgroups in ("v1", "v2", "hybrid", "none")
    assert {"prctl", "setns", "unshare"} <= host.syscalls
    assert repr(host).startswith(f"<Host {host.release}")


def test_it_is_found_out_once() -> None:
    assert Host.probe() is Host.probe()
    assert Host.probe().filesystems is Host.probe().filesystems
    before = Host.probe()
    assert Host.probe(fresh=True) is not before


def test_an_ordinary_user_is_not_privileged(as_user: OrdinaryUser) -> None:
    said = as_user.python(
        """
from nsjail_py.linux.host import Host
host = Host.probe()
print(host.uid, host.privileged, sorted(host.namespaces) == sorted(host.namespace_limits) or host.namespaces)
"""
    )
    uid, privileged, rest = said.split(maxsplit=2)
    assert (int(uid), privileged) == (as_user.uid, "False")
    if Host.probe().user_namespace_error == 0:
        assert rest == "True\n"


def test_it_can_be_recorded() -> None:
    host = Host.probe()
    copy = Host.from_dict(json.loads(json.dumps(host.to_dict())))
    assert copy == host
    assert copy is not host
    assert hash(copy) == hash(host)
    assert (copy.uid_map, copy.syscalls, copy.kernel) == (host.uid_map, host.syscalls, host.kernel)


def test_a_record_must_be_complete() -> None:
    recorded = Host.probe().to_dict()
    del recorded["kernel"]
    with pytest.raises(ValueError, match="missing or unknown facts: kernel"):
        Host.from_dict(recorded)
    with pytest.raises(ValueError, match="missing or unknown facts: weather"):
        Host.probe().replace(weather="fine")


def test_it_is_frozen() -> None:
    with pytest.raises(AttributeError, match="a host is frozen"):
        Host.probe().uid = 0


def test_comparison_with_something_else() -> None:
    assert Host.probe() != 1


ABLE: dict[str, Any] = {
    "capabilities": 0,
    "uid": 1000,
    "user_namespace_error": 0,
    "userns_confined": False,
    "userns_sysctl": None,
    "chrooted": False,
    "container": None,
    "namespace_limits": {"user": 10, "mnt": 10, "uts": 10},
}


@pytest.mark.parametrize(
    ("facts", "able"),
    [
        ({}, {"user", "mnt", "uts"}),
        ({"user_namespace_error": 1}, set()),
        ({"userns_confined": True}, set()),
        ({"user_namespace_error": 1, "capabilities": 1 << c.CAP_SYS_ADMIN}, {"mnt", "uts"}),
        ({"namespace_limits": {"user": 10, "mnt": 0}}, {"user"}),
    ],
)
def test_which_namespaces_can_be_made(facts: dict[str, Any], able: set[str]) -> None:
    assert Host.probe().replace(**ABLE).replace(**facts).namespaces == able


@pytest.mark.parametrize(
    ("kind", "facts", "remedy"),
    [
        ("time", {}, "use a kernel that is built with time namespaces"),
        ("mnt", {"namespace_limits": {"mnt": 0}}, "sysctl user.max_mnt_namespaces=10000"),
        ("mnt", {"namespace_limits": {"mnt": 1, "user": 0}}, "sysctl user.max_user_namespaces=10000"),
        ("uts", {"userns_confined": True}, "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("uts", {"userns_sysctl": "0"}, "sysctl kernel.unprivileged_userns_clone=1"),
        ("user", {"chrooted": True}, "pivot_root instead of chroot"),
        ("user", {"container": "docker"}, "let the seccomp profile of the docker container allow clone3"),
        ("user", {}, "run it as root"),
    ],
)
def test_remedies(kind: str, facts: dict[str, Any], remedy: str) -> None:
    assert remedy in Host.probe().replace(**ABLE).replace(**facts).namespace_remedy(kind)


def test_who_owns_every_id() -> None:
    assert Host.probe().replace(uid_map=[[0, 0, 4294967295]]).initial_user_namespace
    mapped = Host.probe().replace(uid_map=(IdRange(0, 1000),))
    assert mapped.uid_map == (IdRange(0, 1000),)
    assert not mapped.initial_user_namespace


def test_subordinate_ids(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:100000:65536\nsomebody:1:1\n0:300000:10\nbroken\n\n")
    assert module._subordinate(str(file), 0) == ((100000, 65536), (300000, 10))
    assert module._subordinate(str(file), 999_999) == ()
    assert module._subordinate(str(tmp_path / "missing"), 0) == ()
