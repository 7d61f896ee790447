"""seccomp and Landlock, each in a process of its own."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux import landlock
from nsjail_py.linux.host import Host
from tests.unit.linux.children import run_script

needs_landlock = pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock with network rules (Linux 6.7)")


def test_a_filter_is_in_force() -> None:
    """It answers EDOM to setns(2)."""
    run_script(
        """
import errno, os, struct
from nsjail_py.linux import constants as c, process, seccomp
from nsjail_py.linux.call import lib
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
rule = struct.Struct("HBBI")
program = (
    rule.pack(LOAD, 0, 0, 0)
    + rule.pack(EQUAL, 0, 1, c.SYS_setns)
    + rule.pack(RETURN, 0, 0, c.SECCOMP_RET_ERRNO | errno.EDOM)
    + rule.pack(RETURN, 0, 0, c.SECCOMP_RET_ALLOW)
)
process.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
assert lib.nsj_setns(-1, 0) == -errno.EBADF
assert seccomp.install_filter(program) == 0
assert lib.nsj_setns(-1, 0) == -errno.EDOM
"""
    )


def test_a_listener_is_given_out() -> None:
    run_script(
        """
import os, struct
from nsjail_py.linux import constants as c, process, seccomp
process.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
allow = struct.pack("HBBI", 0x06, 0, 0, c.SECCOMP_RET_ALLOW)
fd = seccomp.install_filter(allow, c.SECCOMP_FILTER_FLAG_NEW_LISTENER)
assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:seccomp notify"
"""
    )


@pytest.mark.parametrize("program", [b"", b"x", struct.pack("HBBI", 0xFFFF, 0, 0, 0), bytes(8 * 70_000)])
def test_a_filter_that_is_none(program: bytes) -> None:
    run_script(
        """
import errno, sys
from nsjail_py.linux import constants as c, process, seccomp
process.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
try:
    seccomp.install_filter(sys.stdin.buffer.read())
except OSError as error:
    assert str(error) == "[Errno 22] seccomp: Invalid argument", error
else:
    raise AssertionError("it was installed")
""",
        stdin=program,
    )


@needs_landlock
def test_rules_are_in_force(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open/file").write_text("readable")
    (tmp_path / "closed").write_text("secret")
    run_script(
        """
import errno, os, socket, sys
from nsjail_py.linux import constants as c, landlock, process
read, connect = c.LANDLOCK_ACCESS_FS_READ_FILE, c.LANDLOCK_ACCESS_NET_CONNECT_TCP
rules = landlock.create_ruleset(files=read, network=connect)
landlock.allow_path(rules, read, os.open(f"{sys.argv[1]}/open", os.O_PATH))
landlock.allow_port(rules, connect, 1)
process.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
landlock.restrict_self(rules)
assert open(f"{sys.argv[1]}/open/file").read() == "readable"
try:
    open(f"{sys.argv[1]}/closed")
except PermissionError:
    pass
else:
    raise AssertionError("a file that no rule allows was opened")
errors = [socket.socket().connect_ex(("127.0.0.1", port)) for port in (1, 2)]
assert errors == [errno.ECONNREFUSED, errno.EACCES], errors
""",
        str(tmp_path),
    )


@needs_landlock
def test_rules_that_make_no_sense() -> None:
    rules = landlock.create_ruleset(files=c.LANDLOCK_ACCESS_FS_READ_FILE)
    with pytest.raises(OSError, match="landlock_create_ruleset: No message of desired type"):
        landlock.create_ruleset()
    with pytest.raises(OSError, match="landlock_add_rule: Invalid argument"):
        landlock.allow_path(rules, c.LANDLOCK_ACCESS_FS_WRITE_FILE, rules)
    with pytest.raises(OSError, match="landlock_add_rule: Invalid argument"):
        landlock.allow_port(rules, c.LANDLOCK_ACCESS_NET_BIND_TCP, 1)
    os.close(rules)
    with pytest.raises(OSError, match=r"landlock_restrict_self: (Bad file descriptor|Operation not permitted)"):
        landlock.restrict_self(rules)


def test_the_host_tells_the_version() -> None:
    assert Host.probe().landlock_abi == landlock.abi()
