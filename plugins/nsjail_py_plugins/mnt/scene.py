"""What every recipe of this plugin must know about the sandbox, gathered once from all sections."""

from __future__ import annotations

from typing import Literal

import msgspec

from nsjail_py.plugin import Host, SandboxSpec, constants, identity
from nsjail_py.plugin.mounting import Bind, Mnt
from nsjail_py.plugin.namespaces import Ipc, Namespace, Net, Pid, Uts
from nsjail_py.plugin.sections import Privileges

MNT = Namespace("mnt", constants.CLONE_NEWNS)
_PID = Namespace("pid", constants.CLONE_NEWPID)
_NET = Namespace("net", constants.CLONE_NEWNET)
_IPC = Namespace("ipc", constants.CLONE_NEWIPC)

#: Which root there is: a directory of the host, an overlay, or a tmpfs that shows the host's programs or nothing.
View = Literal["directory", "overlay", "host", "empty"]

#: The kernel that first clones a mount that is attached nowhere.
DETACHED_CLONES = (6, 15)

#: How many bytes of files a home or ``/run`` may have.
HOME_SIZE = 64 << 20


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The sandbox, as far as its mounts depend on it.

    :param section: the plugin's own section
    :param view: which root
    :param privileged: the caller may clone and id-map mounts of the host itself
    :param device_tree: it may clone a ready-made ``/dev``
    :param mapped: there is a new user namespace
    :param uid: the payload's user inside
    :param gid: its group
    :param caller: uid and gid of the caller
    :param own_pids: there is a new pid namespace
    :param own_net: a new network namespace
    :param own_ipc: a new ipc namespace
    :param host_net: the host's network, whose resolver is then wanted too
    :param hostname: the sandbox's host name
    :param attributes: of every mount that shows files of the host
    """

    section: Mnt
    view: View
    privileged: bool
    device_tree: bool
    mapped: bool
    uid: int
    gid: int
    caller: tuple[int, int]
    own_pids: bool
    own_net: bool
    own_ipc: bool
    host_net: bool
    hostname: str
    attributes: int

    @property
    def tmpfs_root(self) -> bool:
        """The root is the sandbox's own tmpfs: anything can be made in it."""
        return self.view in ("host", "empty")

    @property
    def home(self) -> str:
        """The payload's home in the host view."""
        return "/root" if self.uid == 0 else "/home/user"

    def covered(self, target: str) -> bool:
        """Whether a bind of the spec shows something else at ``target`` than the root does."""
        return any(
            isinstance(mount, Bind) and target.startswith(mount.target.rstrip("/") + "/")
            for mount in self.section.mounts
        )


def view_of(section: Mnt) -> View:
    """Which root a section asks for."""
    if section.root is not None:
        return "directory"
    return "overlay" if section.overlay is not None else section.view


def scene(spec: SandboxSpec, host: Host) -> Scene:
    """Gather it. Pure."""
    section = spec.section("mnt", Mnt)
    uid, gid = identity.payload_ids(spec)
    net = spec.section("net", Net).mode
    # without no_new_privs, set-user-id programs of the root are meant to work
    bound = spec.section("privileges", Privileges).no_new_privs
    return Scene(
        section=section,
        view=view_of(section),
        privileged=host.privileged,
        device_tree=host.privileged
        and host.initial_user_namespace  # devices made elsewhere open nothing (user_namespaces(7))
        and host.kernel >= DETACHED_CLONES
        and bool(host.capabilities >> constants.CAP_MKNOD & 1),
        mapped=identity.has_user_namespace(spec, host),
        uid=uid,
        gid=gid,
        caller=(host.uid, host.gid),
        own_pids=_PID.is_new(spec.section("pid", Pid).mode, host),
        own_net=net in ("loopback", "none") or (net not in ("host", "off") and _NET.is_new(net, host)),
        own_ipc=_IPC.is_new(spec.section("ipc", Ipc).mode, host),
        host_net=net not in ("loopback", "none"),
        hostname=spec.section("uts", Uts).hostname,
        attributes=constants.MOUNT_ATTR_NODEV | (constants.MOUNT_ATTR_NOSUID if bound else 0),
    )
