"""What a failed mount means, and what this host can mount."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from nsjail_py.plugin import Host, Line, SandboxSpec
from nsjail_py.plugin.mounting import Mnt
from nsjail_py_plugins.mnt import sources

#: The first kernels with what is asked for.
_SHIFTED_TMPFS = (6, 3)
_OVERLAY_IN_USERNS = (5, 11)
_SHIFTED_LAYERS = (5, 19)

_PLACES = {"proc": "proc", "sysfs": "sys"}


def hint(error: OSError, spec: SandboxSpec, host: Host) -> str | None:
    """The remedy for a failed step or action of this plugin."""
    step = str(getattr(error, "step", ""))
    path = error.filename
    section = spec.section("mnt", Mnt)
    if error.errno in (errno.EPERM, errno.EACCES) and step.startswith(("new proc", "new sysfs")):
        kind = step.split()[1]
        return (
            f"the kernel refuses a new {kind} where the one on /{_PLACES[kind]} is partly covered, as in most "
            "containers: set mnt.proc to try, or run the container with its masks off (docker --security-opt "
            "systempaths=unconfined)"
        )
    if sources.SWAPPED in str(error):
        return f"{path} has been changed since it was checked: see who may write to the directory that it is in"
    if error.errno == errno.EPERM and host.container is not None:
        return f"let the {host.container} container mount: its seccomp and AppArmor profiles have to allow it"
    if error.errno == errno.EWOULDBLOCK and step.startswith("keep changes"):
        return "wait for the other sandbox, or keep these changes in another directory"
    if "shifted" in step and error.errno in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
        return (
            f"ids cannot be shifted on the file system of {path}: make it read-only, put it on another one (ext4, xfs, "
            "btrfs; tmpfs since Linux 6.3), or set user.mode to off"
        )
    if error.errno == errno.EROFS and section.root is not None:
        return f"create {path} in {section.root.path}, or use --rw or --overlay"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"create {path}, or write the bind as optional"
    if error.errno == errno.ENOSPC:
        return "make the sandbox's own root larger: mnt.size"
    if error.errno == errno.EINVAL and step.startswith("clone the mount tree"):
        return "an ordinary user can only show a directory together with what is mounted below it: set recursive"
    return None


def doctor(host: Host) -> Iterator[Line]:
    """What this kernel and user can mount."""
    if host.privileged:
        late = host.kernel < _SHIFTED_TMPFS
        yield Line(
            topic="id-mapped mounts",
            state="part" if late else "yes",
            detail="not on tmpfs before Linux 6.3" if late else "files keep their owners in root directories and binds",
            remedy="keep root directories on ext4, xfs or btrfs" if late else None,
        )
    else:
        yield Line(
            topic="id-mapped mounts",
            state="part",
            detail="not as an ordinary user: other owners in a root directory look like nobody",
            remedy="run as root, or unpack the root directory as the user who runs it",
        )
    if "overlay" not in host.filesystems:
        yield Line(topic="overlay", state="part", detail="not loaded yet", remedy="modprobe overlay")
    elif host.kernel < (_SHIFTED_LAYERS if host.privileged else _OVERLAY_IN_USERNS):
        yield Line(
            topic="overlay",
            state="no",
            detail="not in a user namespace on this kernel",
            remedy="use Linux 5.19 or later",
        )
    else:
        yield Line(topic="overlay", state="yes", detail="in user namespaces too")
