"""The host view as a payload finds it: the host's programs, a small /etc, private places, nothing of anybody's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import run
from nsjail_py.linux.hostview import PROGRAMS, SETTINGS
from tests.system.callers import Caller

EMPTY: dict[str, Any] = {}


def test_there_is_nothing_but_programs_and_places_of_its_own(caller: Caller) -> None:
    names = set(caller.shell(EMPTY, "ls -A /").lines())
    programs = {name for name in PROGRAMS if Path("/", name).exists()}
    assert names == programs | {"dev", "etc", "home", "proc", "run", "tmp", "var"}


def test_etc_has_what_programs_need_and_no_secret(caller: Caller) -> None:
    found = set(caller.shell(EMPTY, "cd /etc; find . -xdev -mindepth 1").lines())
    allowed = {"passwd", "group", "hosts", "nsswitch.conf", *SETTINGS}
    allowed |= {parent.as_posix() for name in allowed for parent in Path(name).parents}
    assert {name.removeprefix("./") for name in found} <= allowed
    assert caller.shell(EMPTY, "ls /etc/shadow /etc/ssl/private 2>/dev/null").out == ""


def test_accounts_are_made_up(caller: Caller) -> None:
    uid = 1000 if caller.root else caller.uid
    assert caller.shell(EMPTY, "cut -d: -f1,3,6 /etc/passwd; id -un; echo ~; cut -d: -f1,3 /etc/group").lines() == [
        "root:0:/root",
        f"user:{uid}:/home/user",
        "nobody:65534:/nonexistent",
        "user",
        "/home/user",
        "root:0",
        f"user:{uid}",
        "nogroup:65534",
    ]


def test_the_host_name_is_an_address_of_its_own(caller: Caller) -> None:
    spec = {"uts": {"hostname": "box"}}
    assert caller.shell(spec, "getent hosts box").lines()[0].split() == ["127.0.0.1", "localhost", "box"]


def test_only_private_places_can_be_written(caller: Caller) -> None:
    script = "for d in / /usr /usr/bin /etc /var /home /tmp /var/tmp /run ~; do touch $d/x 2>/dev/null && echo $d; done"
    assert caller.shell(EMPTY, f"{script}; true").lines() == ["/tmp", "/var/tmp", "/run", "/home/user"]


def test_a_private_place_is_empty_each_time(caller: Caller) -> None:
    assert caller.shell(EMPTY, "touch /tmp/x ~/x; ls -A /tmp ~ | grep -c x").lines() == ["2"]
    assert caller.shell(EMPTY, "ls -A /tmp; ls -A ~").lines() == []


@pytest.mark.root
def test_root_inside_has_a_home_of_its_own(as_root: Caller) -> None:
    lines = as_root.shell({"process": {"user": "0"}}, "echo ~; touch ~/x && ls ~; stat -c %a ~; ls /home").lines()
    assert lines[:3] == ["/root", "x", "700"]


def test_a_resolver_is_there_only_with_a_network(caller: Caller) -> None:
    there = Path("/etc/resolv.conf").is_file()
    script = "test -s /etc/resolv.conf && echo there || echo none"
    assert caller.shell(EMPTY, script).lines() == ["none"]
    assert caller.shell({"net": {"mode": "host"}}, script).lines() == ["there" if there else "none"]


def test_tls_certificates_and_time_zone_are_the_hosts(caller: Caller) -> None:
    if not Path("/etc/ssl/certs/ca-certificates.crt").exists():
        pytest.skip("this host has no certificates in /etc/ssl/certs")
    script = "sha256sum < /etc/ssl/certs/ca-certificates.crt; unset TZ; date +%Z"
    outside = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert caller.shell(EMPTY, script).lines() == outside.stdout.splitlines()


def test_sockets_of_the_host_are_not_there(tmp_path: Path) -> None:
    path = Path(f"/run/nsjail-py-test-{os.getpid()}")
    if not os.access("/run", os.W_OK):
        pytest.skip("only root can listen in /run")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        try:
            assert run(["ls", "-A", "/run"], capture_output=True, text=True).stdout == ""
        finally:
            path.unlink()


def test_a_program_of_this_environment_runs(tmp_path: Path) -> None:
    """Below closed directories too: only its prefix and that of its Python are there."""
    inside = "import sys, os, msgspec; print(sys.prefix, os.path.dirname(msgspec.__file__), os.getuid() != 0)"
    result = run([sys.executable, "-c", inside], capture_output=True, text=True)
    assert result.stderr == ""
    prefix, package, ordinary = str(result.stdout).split()
    assert (prefix, ordinary) == (sys.prefix, "True")
    assert package.startswith(sys.prefix)


def test_a_script_brings_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.prefix, sys.argv[1:])\n")
    script.chmod(0o755)
    result = run([script, "one", "two"], capture_output=True, text=True)
    assert result.stdout == f"{sys.prefix} ['one', 'two']\n"


def test_what_lies_beside_a_program_is_not_there(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nls -A {tmp_path}\n")
    script.chmod(0o755)
    (tmp_path / "secret").touch()
    assert run([script], capture_output=True, text=True).stdout == "script\n"
