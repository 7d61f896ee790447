"""Scripts in processes of their own, and probes in the place of the stage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nsjail_py.linux import files, process, sockets

SOURCES = Path(__file__).resolve().parents[3]

#: What runs before a script that is given to `inside`: it is root of a user and a mount namespace of its own.
ENTER = """
import errno, os, sys
from nsjail_py.linux import caps, constants as c, files, idmap, mounts, namespaces, process, rlimits, sockets
uid, gid = os.getuid(), os.getgid()
namespaces.unshare(c.CLONE_NEWUSER | c.CLONE_NEWNS | c.CLONE_NEWNET | c.CLONE_NEWUTS | c.CLONE_NEWIPC)
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
mounts.mount("none", "/", flags=c.MS_REC | c.MS_PRIVATE)

def raises(number, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as error:
        assert error.errno == number, error
        return str(error)
    raise AssertionError("it did not fail")
"""


def run_script(script: str, *arguments: str, stdin: bytes = b"") -> str:
    """Run a Python script in a process of its own; returns what it printed, and fails where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        timeout=60,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


class Spawned:
    """A probe, and what it said about itself."""

    def __init__(self, child: process.Child, said: str) -> None:
        self.child = child
        self.said = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)


class Spawner:
    """Spawns probes; `report` is our end of the socket whose other end is slot 0."""

    def __init__(self, probe: int) -> None:
        self.probe = probe
        self.report, self.theirs = sockets.seqpacket_pair()
        self.end, self.hold = os.pipe()
        self.pidfds: list[int] = []

    def __call__(
        self,
        letter: str = "d",
        flags: int = 0,
        more: Sequence[int] = (),
        *,
        cgroup: int = -1,
        writes: Sequence[tuple[str, bytes]] = (),
        release_gate: int = 0,
        keep: int = 0,
    ) -> Spawned:
        ours, theirs = os.pipe()
        what = files.sealed_memfd("letter", letter.encode())
        slots = [self.theirs, what, self.end, theirs, *more]
        try:
            child = process.spawn(
                self.probe,
                slots,
                flags,
                cgroup=cgroup,
                report=self.report,
                writes=writes,
                release_gate=release_gate,
                keep=keep,
            )
            self.pidfds.append(child.pidfd)
        finally:
            os.close(theirs)
            os.close(what)
            if letter == "w":  # it holds slot 3 open until it ends
                os.close(ours)
            else:
                said = self._read(ours)
        return Spawned(child, "" if letter == "w" else said)

    @staticmethod
    def _read(fd: int) -> str:
        with open(fd, "rb") as file:
            return file.read().decode()

    def close(self) -> None:
        for pidfd in self.pidfds:
            os.close(pidfd)
        for fd in (self.report, self.theirs, self.end, self.hold):
            os.close(fd)
