"""System call filters as the kernel takes them: classic BPF. See seccomp(2)."""

from __future__ import annotations

from nsjail_py.linux.call import check, lib


def install_filter(program: bytes, flags: int = 0) -> int:
    """Put a filter into force for the calling thread and all that it starts, for good.

    :param program: an array of ``struct sock_filter``
    :param flags: ``SECCOMP_FILTER_FLAG_*``
    :returns: a descriptor for notifications with ``SECCOMP_FILTER_FLAG_NEW_LISTENER``, else 0
    :raises OSError: EINVAL for a program that the kernel does not accept, EACCES without no_new_privs or CAP_SYS_ADMIN
    """
    return check(lib.nsj_seccomp_filter(flags, program, len(program)), "seccomp")
