"""Namespaces that are joined: by path, pid, descriptor and name, with the default user namespace and with theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import PIPE, Sandbox, SandboxError
from nsjail_py.engine.process import Process
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.codec import decode
from tests.conftest import SOURCES, OrdinaryUser
from tests.system.callers import Caller, Ordinary

#: Section and name in /proc/PID/ns.
KINDS = {
    "user": "user",
    "mnt": "mnt",
    "pid": "pid",
    "net": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroupns": "cgroup",
    "timens": "time",
}
WAYS = ("path", "pid", "fd", "name")

#: Without a pid namespace of its own a sandbox cannot have a procfs of its own.
NO_PROC = {"mnt": {"proc": "try"}}


def sandbox(spec: dict[str, Any]) -> Sandbox:
    return Sandbox(decode(spec, "json", Plugins().types))


def identity_of(kind: str, pid: int | str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


@pytest.fixture
def holder() -> Iterator[Process]:
    """A running sandbox that has every namespace."""
    box = sandbox({"timens": {"mode": "on"}, "uts": {"hostname": "holder"}})
    with box.start(["sleep", "1000"], name=f"holder-{os.getpid()}") as process:
        yield process


@pytest.mark.root
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("section", KINDS)
def test_one_namespace_is_joined_and_all_others_are_new(holder: Process, section: str, way: str) -> None:
    kind = KINDS[section]
    path = f"/proc/{holder.pid}/ns/{kind}"
    fd = os.open(path, os.O_RDONLY)
    try:
        mode = {"path": path, "pid": holder.pid, "fd": fd, "name": holder.name}[way]
        spec = (NO_PROC if section == "pid" else {}) | {section: {"mode": f"{way}:{mode}"}}
        with sandbox(spec).start(["sleep", "1000"]) as process:
            # looked at from outside: a joined mount namespace shows another's processes
            for other in KINDS.values():
                own, theirs = identity_of(other, process.pid), identity_of(other, holder.pid)
                assert (own == theirs) == (other == kind), other
                assert own != identity_of(other, "self") or other == "time"
    finally:
        os.close(fd)


@pytest.mark.root
def test_all_of_them_together(holder: Process) -> None:
    spec = {section: {"mode": f"name:{holder.name}"} for section in KINDS}
    with sandbox(spec).start(["sleep", "1000"]) as process:
        for kind in KINDS.values():
            assert identity_of(kind, process.pid) == identity_of(kind, holder.pid), kind


@pytest.mark.root
def test_a_program_enters_a_sandbox_that_has_joined_another(holder: Process) -> None:
    box = sandbox({"net": {"mode": f"name:{holder.name}"}})
    with box.start(["sleep", "1000"], name=f"joined-{os.getpid()}") as process:
        argv = ["readlink", *(f"/proc/self/ns/{kind}" for kind in KINDS.values())]
        expected = [identity_of(kind, process.pid) for kind in KINDS.values()]
        with process.exec(argv, stdout=PIPE, text=True) as entered:
            assert str(entered.communicate().stdout).splitlines() == expected
        # and a third joins it by its name
        with sandbox({"uts": {"mode": f"name:{process.name}"}}).start(["sleep", "1000"]) as third:
            assert identity_of("uts", third.pid) == identity_of("uts", process.pid)


ORDINARY = """
import json, os, sys
from nsjail_py import Sandbox, SandboxError
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.codec import decode

kinds, sections = json.loads(sys.argv[1]), json.loads(sys.argv[2])
types = Plugins().types
holder = Sandbox(decode({"timens": {"mode": "on"}}, "json", types)).start(["sleep", "1000"], name="holder")
same = {}
with holder:
    spec = {"mnt": {"proc": "try"}} | {section: {"mode": "name:holder"} for section in sections}
    try:
        with Sandbox(decode(spec, "json", types)).start(["sleep", "1000"]) as process:
            for section, kind in kinds.items():
                own, theirs = (os.readlink(f"/proc/{each.pid}/ns/{kind}") for each in (process, holder))
                same[section] = own == theirs
    except SandboxError as error:
        same["error"] = str(error)
print(json.dumps(same))
"""


@pytest.mark.parametrize("section", [section for section in KINDS if section != "user"])
def test_an_ordinary_user_joins_together_with_the_user_namespace(as_user: OrdinaryUser, section: str) -> None:
    joined = ["user", section]
    same = json.loads(as_user.python(ORDINARY, json.dumps(KINDS), json.dumps(joined)))
    assert same == {each: each in joined for each in KINDS}


def test_an_ordinary_user_joins_all(as_user: OrdinaryUser) -> None:
    same = json.loads(as_user.python(ORDINARY, json.dumps(KINDS), json.dumps(list(KINDS))))
    assert same == dict.fromkeys(KINDS, True)


def test_an_ordinary_user_is_told_so(as_user: OrdinaryUser) -> None:
    error = json.loads(as_user.python(ORDINARY, json.dumps(KINDS), json.dumps(["uts"])))["error"]
    first, hint = error.splitlines()
    assert first.startswith("uts: join the uts namespace of name holder: Operation not permitted [JOIN, step 1 of ")
    assert hint == (
        "hint: an ordinary user joins it together with the user namespace that it belongs to: set user.mode too"
    )


# ---- what others make ----

IP_NETNS = """
set -e
mount -t tmpfs tmpfs /run
ip netns add elsewhere
ip -n elsewhere link add name apart type bridge
unshare --uts=/run/bound true
exec "$@"
"""

JOINS = """
import json, os
from nsjail_py import SandboxSpec, run
from nsjail_py.plugin.sections import Net, Uts
spec = SandboxSpec(net=Net(mode="path:/run/netns/elsewhere"), uts=Uts(mode="path:/run/bound"))
argv = ["sh", "-c", "readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/user; cat /proc/net/dev"]
print(os.stat("/run/netns/elsewhere").st_ino, os.stat("/run/bound").st_ino)
print(run(argv, spec=spec, capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.root
def test_namespaces_bound_to_files_with_the_default_user_namespace(tmp_path: Path) -> None:
    (tmp_path / "bound").touch()
    script = IP_NETNS.replace("unshare", "touch /run/bound; unshare")
    own = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    env = {**os.environ, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"}
    argv = [*own, sys.executable, "-c", JOINS]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    inodes, net, uts, user, *devices = done.stdout.splitlines()
    assert [net, uts] == [f"{kind}:[{inode}]" for kind, inode in zip(("net", "uts"), inodes.split(), strict=True)]
    assert user != identity_of("user", "self")
    assert any(line.strip().startswith("apart:") for line in devices)


# ---- what cannot be joined ----


def refusal(spec: dict[str, Any]) -> str:
    with pytest.raises(SandboxError) as caught:
        sandbox(spec).run(["true"])
    return str(caught.value)


def test_what_does_not_exist(caller: Caller) -> None:
    error = caller.run({"net": {"mode": "path:/run/netns/nowhere"}}, ["true"]).error
    assert error == (
        "$.net.mode: /run/netns/nowhere does not exist\nhint: name a file such as /run/netns/NAME or /proc/PID/ns/KIND"
    )
    assert caller.run({"ipc": {"mode": "pid:4194304"}}, ["true"]).error == (
        "$.ipc.mode: there is no process 4194304\nhint: name a running process"
    )
    assert caller.run({"uts": {"mode": "name:nobody"}}, ["true"]).error == (
        "$.uts.mode: no sandbox named nobody is running\nhint: nsjail-py ps lists the running ones"
    )


def test_a_namespace_of_another_kind(caller: Caller) -> None:
    error = caller.run({"net": {"mode": "path:/proc/self/ns/uts"}}, ["true"]).error
    assert error.splitlines()[0] == (
        "net: open the net namespace of path /proc/self/ns/uts: a namespace of kind uts, not net [HOST]"
    )


def test_a_file_that_is_no_namespace(caller: Caller) -> None:
    error = caller.run({"net": {"mode": "path:/etc/passwd"}}, ["true"]).error
    assert error.splitlines()[0] == "net: open the net namespace of path /etc/passwd: not a namespace [HOST]"


def test_a_descriptor_that_is_none_of_that_kind() -> None:
    with open("/proc/self/ns/uts") as uts, open("/etc/passwd") as passwd:
        first = refusal({"net": {"mode": f"fd:{uts.fileno()}"}}).splitlines()[0]
        assert first.endswith("the descriptor is a namespace of kind uts, not net [HOST]")
        first = refusal({"net": {"mode": f"fd:{passwd.fileno()}"}}).splitlines()[0]
        assert first.endswith("the descriptor is not a namespace [HOST]")
    first = refusal({"net": {"mode": "fd:999999"}}).splitlines()[0]
    assert first == "net: open the net namespace of fd 999999: Bad file descriptor [HOST]"


@pytest.mark.root
def test_a_sandbox_that_ended_between_check_and_start(holder: Process) -> None:
    box = sandbox({"net": {"mode": f"name:{holder.name}"}})
    holder.kill()
    holder.wait()
    with pytest.raises(SandboxError) as caught:
        box.run(["true"])
    expected = f"net: open the net namespace of name {holder.name}: no sandbox named {holder.name} is running [HOST]"
    assert str(caught.value).splitlines()[0] == expected


def test_offsets_of_a_joined_time_namespace(as_user: OrdinaryUser) -> None:
    error = Ordinary(as_user).run({"timens": {"mode": "path:/proc/self/ns/time", "monotonic": 5}}, ["true"]).error
    assert error == ("$.timens: a joined time namespace has offsets already\nhint: leave out monotonic and boottime")
