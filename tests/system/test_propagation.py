"""Where every mount is shared, as with systemd: nothing mounted outside appears inside, nor the reverse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SOURCES

SCRIPT = """
import ctypes, os, subprocess, sys
from nsjail_py import PIPE, Sandbox, SandboxSpec
from nsjail_py.spec.mnt import Bind, Mnt, OverlayRoot, Root

base, uid = sys.argv[1], int(sys.argv[2])
if uid:
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(4, 1)  # dumpable, as one that began as this user
    os.environ["XDG_RUNTIME_DIR"] = base + "/run"
LOOK = "echo ready; read x; cat /proc/self/mountinfo; echo; ls /sub; mount -t tmpfs none /sub 2>/dev/null; echo done"
views = {
    "root": (Mnt(root=Root(path=base + "/root")), base + "/root/sub"),
    "writable root": (Mnt(root=Root(path=base + "/root", writable=True)), base + "/root/sub"),
    "overlay": (Mnt(overlay=OverlayRoot(lower=(base + "/root",))), base + "/root/sub"),
    "bind": (Mnt(root=Root(path=base + "/root"), mounts=(Bind(source=base + "/data", target="/sub"),)), base + "/data"),
    "host view": (Mnt(mounts=(Bind(source=base + "/data", target="/sub"),)), base + "/data"),
}
for name, (mnt, place) in views.items():
    argv = ["sh", "-c", LOOK]
    with Sandbox(SandboxSpec(mnt=mnt)).start(argv, stdin=PIPE, stdout=PIPE, text=True) as process:
        process.stdout.readline()
        print(place, flush=True)  # whoever reads this mounts there
        input()
        process.stdin.write("go\\n"); process.stdin.flush()
        seen = process.stdout.read()
    table, _, listed = seen.partition("\\n\\n")
    peers = [line for line in table.splitlines() if "shared:" in line or "master:" in line]
    print(name, "done" in listed, "leak" in listed, peers, flush=True)
    input()
"""

#: As systemd has it, in a mount namespace of this test's own.
SHARED = """
mount --make-rprivate /
mount -t tmpfs none "$1"
mount --make-rshared /
cp -a "$2" "$1/root"
exec "$3" -c "$4" "$1" "$5"
"""

DRIVER = """
import os, subprocess, sys
base, uid, script = sys.argv[1], sys.argv[2], os.environ["SCRIPT"]
for path in ("root/sub", "data", "run"):
    os.makedirs(f"{base}/{path}")
    os.chown(f"{base}/{path}", int(uid), int(uid))
os.chmod(base + "/run", 0o700)
with subprocess.Popen([sys.executable, "-c", script, base, uid], stdin=-1, stdout=-1, text=True) as child:
    while place := child.stdout.readline().strip():
        subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
        open(place + "/leak", "w").close()
        print("go", file=child.stdin, flush=True)
        print(child.stdout.readline(), end="")
        subprocess.run(["umount", place], check=True)
        print("go", file=child.stdin, flush=True)
sys.exit(child.returncode)
"""

VIEWS = ("root", "writable root", "overlay", "bind", "host view")


@pytest.mark.root
@pytest.mark.parametrize("uid", [0, 12345])
def test_nothing_crosses(uid: int, busybox_root: Path) -> None:
    # in a mount namespace of this test's own: a place that an ordinary user reaches too
    arguments = ["/mnt", str(busybox_root), sys.executable, DRIVER, str(uid)]
    command = ["unshare", "--mount", "sh", "-ec", SHARED, "sh", *arguments]
    env = {**os.environ, "SCRIPT": SCRIPT, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{view} True False []" for view in VIEWS]
