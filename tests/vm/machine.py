"""A virtual machine with a kernel of its own, on which only control groups of version 2 exist.

``python -m tests.vm.machine [--memory MIB] [--timeout S] [--disk MIB] -- COMMAND ...`` boots Debian's kernel under
qemu, shows it this machine's files, runs the command in the current directory and ends with its status. The command
finds:

* this machine's file system, read-only underneath and with a layer in memory on top: it may write anywhere, and
  nothing lasts;
* a new ext4 file system on ``$TMPDIR`` (the layers above take neither id-mapped mounts nor overlays);
* ``/sys/fs/cgroup`` with every controller enabled, and ``CGROUP2_VM=1`` in its environment.

The processor is emulated, ten to twenty times slower than this one: KVM is seldom there in a container, and where it is
there it does not always work. Needs qemu-system-x86, busybox-static and e2fsprogs; the kernel is fetched with apt once,
and kept in the cache directory.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.vm.initrd import Initrd

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nsjail_py-tests" / "vm"
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "mkfs.ext4": "e2fsprogs"}
BEGIN, END = "vm-begin", "vm-exit-status"

#: For the disk, for the files of this machine, and what sandboxes may want.
MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p"),
    *("crc16", "crc32c_generic", "libcrc32c", "mbcache", "jbd2", "ext4", "overlay"),
    *("llc", "stp", "bridge", "veth", "tun"),
)

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin; export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
# they need each other, and no package says in which order: four passes are enough
for pass in 1 2 3 4; do for module in /modules/*.ko; do insmod $module 2>/dev/null; done; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host
mount -t tmpfs layer /layer; mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /new
mount -t proc proc /new/proc; mount -t sysfs sys /new/sys; mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm /new/dev/mqueue
mount -t devpts -o ptmxmode=666 pts /new/dev/pts; mount -t tmpfs shm /new/dev/shm
mount -t tmpfs -o mode=755 run /new/run
mount -t cgroup2 none /new/sys/fs/cgroup
echo "+cpuset +cpu +io +memory +pids +hugetlb" >/new/sys/fs/cgroup/cgroup.subtree_control
mkdir /new/run/vm /new/run/vm/tmp; mount -t ext4 /dev/vda /new/run/vm/tmp; chmod 1777 /new/run/vm/tmp
ip link set lo up
cp /bin/busybox /job /new/run/vm/
# not chroot: the kernel refuses user namespaces to a process in one
exec switch_root /new /run/vm/busybox sh /run/vm/job
"""


class MachineError(Exception):
    """The machine could not be made, or did not say how its command ended."""


def _check(argv: Sequence[str | Path], **options: object) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise MachineError(f"{shlex.join(map(str, argv))}: {(done.stderr or done.stdout).strip()}")
    return str(done.stdout)


def kernel() -> Path:
    """A directory with Debian's kernel, ``vmlinuz``, and the modules; fetched where it is not in the cache."""
    if not (CACHE / "vmlinuz").exists():
        found = re.search(r"Depends: (linux-image-\S+)", _check(["apt-cache", "depends", "linux-image-amd64"]))
        if not found:
            raise MachineError("apt knows no linux-image-amd64: run apt-get update")
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE.parent) as name:
            made = Path(name, "vm")
            made.mkdir()
            os.chmod(name, 0o755)  # apt fetches as a user of its own
            _check(["apt-get", "download", "-qq", found[1]], cwd=name)
            _check(["dpkg-deb", "-x", *Path(name).glob("*.deb"), Path(name, "files")])
            for module in Path(name, "files").rglob("*.ko"):
                if module.stem in MODULES:
                    shutil.copy(module, made)
            (image,) = Path(name, "files", "boot").glob("vmlinuz-*")
            shutil.copy(image, made / "vmlinuz")
            made.rename(CACHE)
    return CACHE


def _initrd(command: Sequence[str]) -> bytes:
    """What the machine boots into: busybox, the modules and the command."""
    environment = {"HOME": os.environ.get("HOME", "/root"), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    environment |= {"CGROUP2_VM": "1", "TERM": "dumb", "TMPDIR": "/run/vm/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    job = f"""export {exports}
echo; echo {BEGIN}
cd {shlex.quote(os.getcwd())} && {shlex.join(command)}
echo "{END} $?"; /run/vm/busybox poweroff -f
"""
    image = Initrd()
    for name in ("proc", "sys", "dev", "host", "layer", "new"):
        image.directory(name)
    busybox = shutil.which("busybox")
    assert busybox, "checked before"
    image.file("bin/busybox", Path(busybox).read_bytes(), 0o755)
    image.file("init", INIT.encode(), 0o755)
    image.file("job", job.encode())
    for module in kernel().glob("*.ko"):
        image.file(f"modules/{module.name}", module.read_bytes())
    return image.data()


def _qemu(directory: Path, *, memory: int, disk: int, command: Sequence[str]) -> list[str]:
    """The command line of the machine, whose disk and initrd are written to the directory."""
    (directory / "initrd").write_bytes(_initrd(command))
    with (directory / "disk").open("wb") as file:
        file.truncate(disk << 20)
    _check(["mkfs.ext4", "-q", "-F", directory / "disk"], env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-smp", "2", "-m", str(memory), "-display", "none", "-serial", "stdio", "-monitor", "none"),
        *("-no-reboot", "-net", "none", "-kernel", str(kernel() / "vmlinuz"), "-initrd", str(directory / "initrd")),
        *("-append", "console=ttyS0 quiet panic=-1 loglevel=1"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        *("-drive", f"file={directory / 'disk'},if=virtio,format=raw,cache=unsafe"),
    ]


def _output(lines: Iterator[str]) -> int | None:
    """Print what the command prints; returns its status, or ``None`` where the machine stopped before it ended."""
    running = False
    for raw in lines:
        line = raw.replace("\r", "")
        if line.startswith(END):
            return int(line.split()[1])
        if running:
            print(line, end="", flush=True)
        running = running or line.strip() == BEGIN
    return None


def run(command: Sequence[str], *, memory: int, disk: int, timeout: int) -> int:
    """Run a command in a new machine and return its status.

    :param memory: of the machine, in MiB
    :param disk: size of ``$TMPDIR``, in MiB
    :param timeout: of the whole, in seconds
    :raises MachineError: the machine could not be made, stopped early or ran out of time
    """
    if platform.machine() != "x86_64":
        raise MachineError(f"the machine is an x86-64, and this is {platform.machine()}")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None]
    if missing:
        raise MachineError(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="nsjail-py-vm-") as name:
        qemu = _qemu(Path(name), memory=memory, disk=disk, command=command)
        argv = ["timeout", "--kill-after=5", str(timeout), *qemu]
        with (
            Path(name, "errors").open("w+") as errors,
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
            ) as machine,
        ):
            assert machine.stdout is not None
            status = _output(machine.stdout)
            machine.wait()
            errors.seek(0)
            if status is None:
                raise MachineError(f"no exit status: it stopped, or ran past {timeout} s\n{errors.read()}")
    return status


def main() -> int:
    """The command line; 124 where the machine did not say how its command ended."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm.machine", description="Run a command in a virtual machine."
    )
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="of the machine (%(default)s)")
    parser.add_argument("--disk", type=int, default=1024, metavar="MIB", help="size of $TMPDIR (%(default)s)")
    parser.add_argument("--timeout", type=int, default=600, metavar="S", help="of the whole (%(default)s)")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    try:
        return run(options.command, memory=options.memory, disk=options.disk, timeout=options.timeout)
    except MachineError as error:
        print(f"machine: {error}", file=sys.stderr)
        return 124


if __name__ == "__main__":
    sys.exit(main())
