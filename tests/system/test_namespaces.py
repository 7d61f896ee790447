"""Every namespace, new and not, as it is seen from inside."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import Sandbox
from tests.conftest import OrdinaryUser
from tests.system.callers import Caller, Ordinary

#: Section and name in /proc/PID/ns of those whose absence leaves the others possible.
SIMPLE = {"net": "net", "ipc": "ipc", "uts": "uts", "pid": "pid", "cgroupns": "cgroup", "timens": "time"}


def identity_of(kind: str, pid: int | str = "self") -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def inside(caller: Caller, spec: dict[str, Any], kind: str) -> str:
    """What a payload sees as its namespace of a kind."""
    (seen,) = caller.run({"mnt": {"proc": "try"}, **spec}, ["readlink", f"/proc/self/ns/{kind}"]).lines()
    return seen


@pytest.mark.parametrize(("section", "kind"), SIMPLE.items())
def test_a_new_namespace(caller: Caller, section: str, kind: str) -> None:
    assert inside(caller, {section: {"mode": "on"}}, kind) != identity_of(kind)


@pytest.mark.parametrize(("section", "kind"), SIMPLE.items())
def test_no_new_namespace(caller: Caller, section: str, kind: str) -> None:
    assert inside(caller, {section: {"mode": "off"}}, kind) == identity_of(kind)


@pytest.mark.parametrize(("section", "kind"), SIMPLE.items())
def test_what_can_be_had_is_tried(caller: Caller, section: str, kind: str) -> None:
    assert inside(caller, {section: {"mode": "try"}}, kind) != identity_of(kind)


def test_each_namespace_but_time_is_new_by_default(caller: Caller) -> None:
    kinds = ("user", "mnt", *(kind for kind in SIMPLE.values() if kind != "time"))
    seen = caller.run({}, ["readlink", *(f"/proc/self/ns/{kind}" for kind in kinds)]).lines()
    assert not set(seen) & {identity_of(kind) for kind in kinds}
    assert inside(caller, {}, "time") == identity_of("time")


@pytest.mark.root
def test_without_a_user_namespace_root_has_all_others(as_root: Caller) -> None:
    spec = {"user": {"mode": "off"}}
    assert inside(as_root, spec, "user") == identity_of("user")
    for kind in ("mnt", "net", "pid"):
        assert inside(as_root, spec, kind) != identity_of(kind)
    # never the host's root unless that is asked for in so many words
    assert as_root.run(spec, ["id", "-u"]).lines() == ["65534"]


def test_without_a_user_namespace_an_ordinary_user_has_none(as_user: OrdinaryUser) -> None:
    error = Ordinary(as_user).run({"user": {"mode": "off"}}, ["true"]).error
    assert error == (
        "$.user.mode: without a user namespace an ordinary user can make no other: mnt, pid, uts, ipc, net, cgroupns\n"
        "hint: set user.mode to on, or the modes of the others to off"
    )


def test_without_a_mount_namespace_the_files_are_the_callers(caller: Caller) -> None:
    spec = {"mnt": {"mode": "off"}}
    if caller.root:
        assert caller.run(spec, ["readlink", "/proc/self/ns/mnt"]).out.strip() in ("", identity_of("mnt"))
    assert caller.run(spec, ["test", "-e", "/sys/kernel"]).lines() == []


# ---- uts ----


def test_host_and_domain_name(caller: Caller) -> None:
    before = os.uname().nodename
    spec = {"uts": {"hostname": "box.example", "domainname": "example"}}
    assert caller.shell(spec, "uname -n; cat /proc/sys/kernel/domainname").lines() == ["box.example", "example"]
    assert os.uname().nodename == before


def test_the_name_is_sandbox_unless_another_is_given(caller: Caller) -> None:
    assert caller.run({}, ["uname", "-n"]).lines() == ["sandbox"]
    spec = {"uts": {"mode": "off"}}
    assert caller.run(spec, ["uname", "-n"]).lines() == [os.uname().nodename]


def test_a_name_needs_a_namespace(caller: Caller) -> None:
    error = caller.run({"uts": {"mode": "off", "hostname": "box"}}, ["true"]).error
    assert error == (
        "$.uts.hostname: needs a uts namespace of the sandbox's own\nhint: leave out hostname, or set uts.mode to on"
    )


# ---- net ----


def loopback_addresses(caller: Caller, mode: str) -> list[str]:
    # the kernel gives lo its addresses when it comes up
    return [line.split()[3] for line in caller.run({"net": {"mode": mode}}, ["ip", "-o", "-4", "addr"]).lines()]


def test_loopback_is_up_and_alone(caller: Caller) -> None:
    assert loopback_addresses(caller, "loopback") == ["127.0.0.1/8"]
    names = caller.run({}, ["cat", "/proc/net/dev"]).lines()[2:]
    assert "lo" in [line.split(":")[0].strip() for line in names]


def test_none_is_down(caller: Caller) -> None:
    assert loopback_addresses(caller, "none") == []


def test_host_is_the_callers_network(caller: Caller) -> None:
    assert inside(caller, {"net": {"mode": "host"}}, "net") == identity_of("net")


# ---- time ----


def test_the_boot_clock_is_shifted(caller: Caller) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    (line,) = caller.run({"timens": {"boottime": 1_000_000.5}}, ["cat", "/proc/uptime"]).lines()
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    # the file has two decimals, rounded down
    assert before + 1_000_000.49 <= float(line.split()[0]) <= after + 1_000_000.51


def test_the_monotonic_clock_is_shifted_back_and_forth(caller: Caller) -> None:
    script = "import time; print(time.monotonic())"
    shift = -time.monotonic() / 2  # a clock below zero is refused
    before = time.monotonic()
    (line,) = caller.run({"timens": {"monotonic": shift}}, ["python3", "-c", script]).lines()
    # the offset travels in nanoseconds
    assert before + shift - 1e-6 <= float(line) <= time.monotonic() + shift + 1e-6


def test_the_wall_clock_never_is(caller: Caller) -> None:
    before = time.time()
    (line,) = caller.run({"timens": {"monotonic": 5000, "boottime": 5000}}, ["date", "+%s"]).lines()
    assert int(before) <= int(line) <= time.time()


# ---- cgroup ----


def test_the_own_group_is_the_root(caller: Caller) -> None:
    lines = caller.run({}, ["cat", "/proc/self/cgroup"]).lines()
    assert lines
    assert {line.split(":", 2)[2] for line in lines} == {"/"}


def test_without_a_cgroup_namespace_the_path_is_the_callers(caller: Caller) -> None:
    lines = caller.run({"cgroupns": {"mode": "off"}}, ["cat", "/proc/self/cgroup"]).lines()
    assert {line.split(":", 2)[2] for line in lines} == {
        line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()
    }


# ---- pid ----


def test_the_payload_is_the_child_of_init(caller: Caller) -> None:
    script = "echo $$; awk '{print $4}' /proc/$$/stat; ls -d /proc/[0-9]* | wc -l"
    pid, parent, count = caller.shell({}, script).lines()
    assert pid != "1"
    assert parent == "1"
    assert int(count) >= 2


@pytest.mark.parametrize("die_with_owner", [True, False])
def test_the_payload_is_pid_1_where_wanted(caller: Caller, die_with_owner: bool) -> None:
    spec: dict[str, Any] = {"pid": {"init": False, "die_with_owner": die_with_owner}}
    if not die_with_owner:
        spec["user"] = {"map": "single"}
    assert caller.shell(spec, "echo $$").lines() == ["1"]
    assert caller.shell(spec, "exit 7").code == 7


def test_a_range_is_not_left_without_a_holder(caller: Caller) -> None:
    done = caller.run({"pid": {"init": False, "die_with_owner": False}}, ["true"])
    if caller.root:
        assert done.error == (
            "$.pid.init: without init nobody holds the sandbox's range of host ids once its owner has ended\n"
            "hint: set pid.init or pid.die_with_owner to true, or user.map to single"
        )
    else:
        assert done.lines() == []


def test_pid_1_needs_a_pid_namespace(caller: Caller) -> None:
    error = caller.run({"pid": {"init": False, "mode": "off"}, "mnt": {"proc": False}}, ["true"]).error
    assert error == ("$.pid.init: only the first process of a new pid namespace can be pid 1\nhint: set pid.mode to on")


def test_without_a_pid_namespace_nothing_is_left_all_the_same(caller: Caller) -> None:
    spec = {"pid": {"mode": "off"}, "mnt": {"proc": "try"}}
    (pid,) = caller.shell(spec, "setsid sleep 1000 >/dev/null 2>&1 & echo $!").lines()
    assert not Path(f"/proc/{pid}").exists()


# ---- ipc ----


@pytest.mark.root
def test_ipc_objects_are_the_sandboxs_own(busybox_root: Path) -> None:
    with Sandbox(rootfs=busybox_root).start(["/bin/sleep", "1000"]) as process:
        assert identity_of("ipc", process.pid) != identity_of("ipc")
        own = Path("/proc/sysvipc/shm").read_text()
        assert Path(f"/proc/{process.pid}/root/proc/sysvipc/shm").read_text().count("\n") <= own.count("\n")
