"""Which sources of binds give the host away, and are therefore refused without an explicit word.

Whoever reaches a control socket acts outside of every sandbox: docker.sock is root, D-Bus and systemd start programs
on the host. Their parents are as good as they are, and a whole home holds keys and tokens.
"""

from __future__ import annotations

import re

from nsjail_py.plugin.mounting import is_home

_ANCESTORS = frozenset({"/", "/run", "/var", "/var/run", "/proc", "/sys", "/dev", "/home", "/root"})

#: Kernel interfaces, and the run-time directories of the host's own service managers and of a user's.
_BELOW = re.compile(
    r"/(?:proc|sys|run/systemd|run/dbus)(?:/|$)"
    r"|/run/user/[^/]+(?:$|/(?:dbus-1|docker|gnupg|keyring|podman|systemd)(?:/|$))"
)

_SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/libvirt/libvirt-sock",
    "/run/podman/podman.sock",
    "/run/snapd.socket",
    "/run/systemd/private",
    "/run/user/bus",
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
)


def reason(path: str, *, socket: bool) -> str | None:
    """Why a source is sensitive, or ``None``.

    :param path: absolute, with every symbolic link resolved
    :param socket: it is a unix socket
    """
    if socket:
        return "is a socket: whoever connects to it acts outside the sandbox"
    if path in _ANCESTORS or _BELOW.match(path):
        return "gives the sandbox control of the host"
    if is_home(path):
        return "is a whole home, with all its keys and tokens"
    found = next((each for each in _SOCKETS if each.startswith(f"{path}/")), None)
    return f"holds the control socket {found}" if found else None
