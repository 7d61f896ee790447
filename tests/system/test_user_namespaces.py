"""Who a payload is on the host: id maps, ranges that nobody shares, groups."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import Sandbox, SandboxSpec, running
from nsjail_py.linux.idmap import parse_map
from nsjail_py.plugin.sections import User
from tests.conftest import SOURCES, OrdinaryUser
from tests.leaks import Orphans, eventually
from tests.system.callers import Caller, Ordinary

FIRST, WIDTH = 0x70000000, 65536


def maps(caller: Caller, spec: dict[str, Any]) -> list[list[int]]:
    """The ranges of the uid map and of the gid map, one after the other."""
    lines = caller.run(spec, ["cat", "/proc/self/uid_map", "/proc/self/gid_map"]).lines()
    return [list(map(int, line.split())) for line in lines]


def whoami(caller: Caller, spec: dict[str, Any]) -> list[str]:
    return caller.shell(spec, "id -u; id -g; id -G").lines()


# ---- maps ----


@pytest.mark.root
def test_root_gets_a_range_that_is_nobodys(as_root: Caller) -> None:
    uids, gids = maps(as_root, {})
    assert uids == gids
    inside, outside, count = uids
    assert (inside, count) == (0, WIDTH)
    assert outside >= FIRST
    assert (outside - FIRST) % WIDTH == 0
    assert whoami(as_root, {}) == ["1000", "1000", "1000"]


@pytest.mark.root
def test_a_range_can_be_narrow(as_root: Caller) -> None:
    ((inside, _, count), _) = maps(as_root, {"user": {"count": 2000}})
    assert (inside, count) == (0, 2000)


def test_an_ordinary_user_is_mapped_alone(as_user: OrdinaryUser) -> None:
    caller = Ordinary(as_user)
    assert maps(caller, {}) == [[caller.uid, caller.uid, 1]] * 2
    assert whoami(caller, {}) == [str(caller.uid)] * 3
    assert maps(caller, {"process": {"user": "0"}}) == [[0, caller.uid, 1]] * 2
    assert maps(caller, {"process": {"user": "7:8"}}) == [[7, caller.uid, 1], [8, caller.uid, 1]]


@pytest.mark.parametrize("kind", ["single", "keep"])
def test_a_single_id(caller: Caller, kind: str) -> None:
    inside = caller.uid if kind == "keep" or not caller.root else 1000
    assert maps(caller, {"user": {"map": kind}}) == [[inside, caller.uid, 1]] * 2
    assert whoami(caller, {"user": {"map": kind}})[:2] == [str(inside)] * 2


@pytest.mark.root
def test_maps_as_they_are_listed(as_root: Caller) -> None:
    spec = {
        "user": {"uids": ["0:700000:10", "1000:800000:5"], "gids": ["0:900000:2000"]},
        "process": {"user": "1001:7"},
    }
    assert maps(as_root, spec) == [[0, 700000, 10], [1000, 800000, 5], [0, 900000, 2000]]
    assert whoami(as_root, spec) == ["1001", "7", "7"]


def test_a_map_that_the_user_may_not_write(as_user: OrdinaryUser) -> None:
    spec = {"user": {"uids": ["0:0:1"], "gids": ["0:0:1"]}, "process": {"user": "0"}}
    error = Ordinary(as_user).run(spec, ["true"]).error
    assert error == (
        "user: start the stage: write of uid_map: Operation not permitted [CREATED]\n"
        "hint: nsjail-py doctor says which ids this user can map"
    )


def test_one_map_without_the_other(caller: Caller) -> None:
    error = caller.run({"user": {"uids": ["0:700000:10"]}}, ["true"]).error
    assert error == "$.user: uids and gids are mapped together\nhint: give both maps"


def test_a_range_needs_lines_in_subuid(as_user: OrdinaryUser) -> None:
    error = Ordinary(as_user).run({"user": {"map": "range"}}, ["true"]).error
    assert error.splitlines()[0] == "$.user.map: this user has no range in /etc/subuid and /etc/subgid"
    assert "usermod --add-subuids" in error


SUBIDS = """
mount --bind "$1/subuid" /etc/subuid && mount --bind "$1/subgid" /etc/subgid &&
mount --bind "$1/passwd" /etc/passwd && shift && exec "$@"
"""

SUBIDS_USER = """
from nsjail_py import run, SandboxSpec
from nsjail_py.plugin.sections import Process, User
spec = SandboxSpec(user=User(map="range"), process=Process(user="1000", groups=(7,)))
argv = ["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -G"]
print(run(argv, spec=spec, capture_output=True, text=True).stdout)
"""


@pytest.mark.root
def test_ranges_of_subuid_are_mapped_by_newuidmap(as_user: OrdinaryUser, tmp_path: Path) -> None:
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text(f"ordinary:{1_000_000}:{WIDTH}\n")
    line = f"ordinary:x:{as_user.uid}:{as_user.uid}::{as_user.home}:/bin/sh\n"
    (tmp_path / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{line}")
    own = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SUBIDS, "sh", str(tmp_path)]
    argv = [*own, *as_user.command([sys.executable, "-c", SUBIDS_USER])]
    done = subprocess.run(argv, env=as_user.env(), cwd=as_user.home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *lines, groups = done.stdout.split("\n")[:-2]
    me = as_user.uid
    expected = [[0, 1_000_000, 1000], [1000, me, 1], [1001, 1_001_000, WIDTH - 1000]]
    assert [list(map(int, line.split())) for line in lines] == expected * 2
    assert groups == "1000 7"


# ---- nobody shares an id ----


def kernel_uid(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


@pytest.mark.root
def test_two_sandboxes_never_share_a_kernel_uid(busybox_root: Path) -> None:
    box = Sandbox(rootfs=busybox_root)
    running_now = [box.start(["/bin/sleep", "1000"]) for _ in range(4)]
    try:
        firsts = {parse_map(Path(f"/proc/{each.pid}/uid_map").read_text())[0].outside for each in running_now}
        assert len(firsts) == 4
        assert {kernel_uid(each.pid) for each in running_now} == firsts  # root inside is the first of the range
        assert 0 not in firsts
    finally:
        for each in running_now:
            each.kill()
            each.wait()
            each.close()


@pytest.mark.root
def test_no_range_belongs_to_an_account(as_root: Caller) -> None:
    taken = [line.split(":") for name in ("/etc/subuid", "/etc/subgid") for line in Path(name).read_text().splitlines()]
    (_, first, _), _ = maps(as_root, {})
    assert not [entry for entry in taken if int(entry[1]) < first + WIDTH and first < int(entry[1]) + int(entry[2])]


def range_is_held(first: int) -> bool:
    """Whether some process holds the lock on a range (fcntl(2), F_OFD_GETLK)."""
    with open(os.path.join(running.state_directory(), "ids"), "rb+") as file:
        asked = struct.pack("@hhqqi", fcntl.F_WRLCK, os.SEEK_SET, (first - FIRST) // WIDTH, 1, 0)
        (kind, *_) = struct.unpack("@hhqqi", fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, asked))
        return bool(kind != fcntl.F_UNLCK)


OWNER = """
import json, sys, time
from nsjail_py import Sandbox, SandboxSpec
from nsjail_py.plugin.sections import Pid
process = Sandbox(SandboxSpec(pid=Pid(die_with_owner=False)), rootfs=sys.argv[1]).start(["/bin/sleep", "1000"])
print(json.dumps([process.init_pid, process.pid]), flush=True)
time.sleep(1000)
"""


@pytest.mark.root
def test_a_range_is_held_by_the_sandbox_when_its_owner_is_dead(busybox_root: Path, orphans: Orphans) -> None:
    argv = [sys.executable, "-c", OWNER, str(busybox_root)]
    env = {**os.environ, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as owner:
        orphans.mine(owner.pid)
        assert owner.stdout is not None
        init, payload = json.loads(owner.stdout.readline())
        owner.kill()
    first = kernel_uid(payload)
    assert range_is_held(first)
    os.kill(init, 9)
    assert eventually(lambda: not orphans.alive())
    assert not range_is_held(first)


# ---- groups ----


def test_groups_cannot_be_changed_with_a_single_id(as_user: OrdinaryUser) -> None:
    # CVE-2014-8989: dropping a group would open files that it may not read
    assert Ordinary(as_user).run({}, ["cat", "/proc/self/setgroups"]).lines() == ["deny"]


@pytest.mark.root
def test_root_drops_every_group(as_root: Caller, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "from nsjail_py import run; print(run(['id', '-G']).returncode)"]
    env = {**os.environ, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"}
    done = subprocess.run(argv, extra_groups=[54321], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["1000", "0"], done.stderr
    assert whoami(as_root, {"process": {"groups": [5, 6]}})[2] == "1000 5 6"


def test_an_ordinary_user_cannot_set_groups(as_user: OrdinaryUser) -> None:
    error = Ordinary(as_user).run({"process": {"groups": [5]}}, ["true"]).error
    assert error == (
        "$.process.groups: an ordinary user with a single id cannot set groups\n"
        "hint: set user.map to range (needs lines in /etc/subuid and /etc/subgid)"
    )


# ---- nesting ----

NEST = ["unshare", "--user", "true"]


def test_no_user_namespace_can_be_made_inside(caller: Caller) -> None:
    done = caller.run({}, NEST)
    assert done.code != 0
    assert "No space left on device" in done.err  # ENOSPC: user.max_user_namespaces is 0 (user_namespaces(7))


def test_one_can_where_that_is_wanted(caller: Caller) -> None:
    assert caller.run({"user": {"nested": True}}, NEST).lines() == []


@pytest.mark.root
def test_the_limit_is_the_sandboxs_own(busybox_root: Path) -> None:
    before = Path("/proc/sys/user/max_user_namespaces").read_text()
    Sandbox(SandboxSpec(user=User()), rootfs=busybox_root).run(["/bin/true"])
    assert Path("/proc/sys/user/max_user_namespaces").read_text() == before
