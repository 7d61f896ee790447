"""For plugins that mount: the kernel's calls, the kinds of mounts, and what the host's own root looks like."""

from nsjail_py.linux import mounts
from nsjail_py.linux.hostview import Entry, HostView, is_home
from nsjail_py.linux.idmap import mapping_namespace, outside
from nsjail_py.spec.mnt import (
    Bind,
    Dev,
    Directory,
    File,
    Mask,
    Mnt,
    Mqueue,
    Overlay,
    OverlayRoot,
    Proc,
    Root,
    Symlink,
    Sysfs,
    Tmpfs,
)
from nsjail_py.spec.mnt import Mount as MountSpec
from nsjail_py.spec.units import parse_mode, size_bytes

__all__ = [
    "Bind",
    "Dev",
    "Directory",
    "Entry",
    "File",
    "HostView",
    "Mask",
    "Mnt",
    "MountSpec",
    "Mqueue",
    "Overlay",
    "OverlayRoot",
    "Proc",
    "Root",
    "Symlink",
    "Sysfs",
    "Tmpfs",
    "is_home",
    "mapping_namespace",
    "mounts",
    "outside",
    "parse_mode",
    "size_bytes",
]
