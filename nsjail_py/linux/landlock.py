"""Access rules that a process gives itself, and cannot take back. See landlock(7)."""

from __future__ import annotations

from nsjail_py.linux.call import check, lib


def abi() -> int:
    """The version of Landlock that the kernel has; 0: none, or switched off."""
    return max(0, int(lib.nsj_landlock_abi()))


def create_ruleset(*, files: int = 0, network: int = 0, scope: int = 0) -> int:
    """A set of rules that denies everything it handles, until something is allowed.

    :param files: ``LANDLOCK_ACCESS_FS_*`` that are handled
    :param network: ``LANDLOCK_ACCESS_NET_*`` that are handled
    :param scope: ``LANDLOCK_SCOPE_*``: what must stay among processes with the same rules
    :returns: a descriptor
    :raises OSError: EINVAL or E2BIG for what is newer than :func:`abi`, ENOMSG where nothing is handled
    """
    return check(lib.nsj_landlock_ruleset(files, network, scope), "landlock_create_ruleset")


def allow_path(ruleset: int, access: int, beneath: int) -> None:
    """Allow access to a file, or to all beneath a directory.

    :param access: ``LANDLOCK_ACCESS_FS_*``, which the set must handle
    :param beneath: a descriptor of the file or directory
    """
    check(lib.nsj_landlock_allow_path(ruleset, access, beneath), "landlock_add_rule")


def allow_port(ruleset: int, access: int, port: int) -> None:
    """Allow to bind to, or to connect to, a TCP port.

    :param access: ``LANDLOCK_ACCESS_NET_*``, which the set must handle
    """
    check(lib.nsj_landlock_allow_port(ruleset, access, port), "landlock_add_rule")


def restrict_self(ruleset: int) -> None:
    """Put the rules into force for the calling thread and all that it starts.

    :raises OSError: EPERM without no_new_privs or CAP_SYS_ADMIN
    """
    check(lib.nsj_landlock_restrict_self(ruleset), "landlock_restrict_self")
