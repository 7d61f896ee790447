"""The stage's program as a sealed descriptor: what every launch executes, and no payload can change.

A memfd, because a payload that is host root could open the packaged file for writing as ``/proc/1/exe``
(CVE-2019-5736). Where executable memfds are forbidden, the packaged file through a detached read-only mount.
"""

from __future__ import annotations

import os
from contextlib import suppress

from nsjail_py.errors import UnsupportedError
from nsjail_py.linux.files import read_only_clone, sealed_executable

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_stage")

_descriptor = -1


def stage() -> int:
    """The descriptor, made once a process and kept.

    :raises UnsupportedError: the package was installed without its stage, or this machine lets nobody execute it
    """
    global _descriptor
    if _descriptor < 0:
        _descriptor = _open()
    return _descriptor


def _open() -> int:
    if not os.path.exists(PATH):
        raise UnsupportedError("the package has no _stage program", hint="build it: pip install . (needs a C compiler)")
    with suppress(PermissionError):
        return sealed_executable(PATH)
    try:
        return read_only_clone(PATH)
    except OSError as error:
        raise UnsupportedError(
            f"neither an executable memfd nor a read-only clone of {PATH} can be made: {error.strerror}",
            hint="set the sysctl vm.memfd_noexec to 0 or 1, or start as root",
        ) from error
