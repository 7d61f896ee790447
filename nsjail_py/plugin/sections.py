"""The sections of the built-in plugins, for plugins that read another's."""

from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.namespaces import Cgroupns, Ipc, Net, Pid, Timens, User, Uts
from nsjail_py.spec.process import Privileges, Process

__all__ = ["Cgroupns", "Ipc", "Mnt", "Net", "Pid", "Privileges", "Process", "Timens", "User", "Uts"]
