"""The phases of a launch: the one place where order is written.

A plan is sorted by ``(phase, rank, owner, sequence)``; nothing else decides what comes before what.
"""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """When a step or an action happens. The comment says who does it."""

    HOST = 0  # the parent, before the child exists: sources opened and cloned, an id range taken
    CREATED = 1  # the parent, at a gate: id maps written, descriptors handed over
    CGROUP = 2  # the child, from here on: into its control groups
    JOIN = 3  # setns into given namespaces
    IDENTITY = 4  # become the user namespace's own ids
    ROOT = 5  # private propagation, the new root
    MOUNT = 6  # everything mounted in it, sorted by destination
    PIVOT = 7  # pivot_root, the old root detached
    SYSTEM = 8  # host name, sysctls, loopback, cgroup namespace, time offsets
    SEAL = 9  # read-only remounts, masks
    READY = 10  # the parent, at a gate
    INIT = 11  # fork: the parent becomes init
    LIMIT = 12  # the payload only, from here on: rlimits, scheduling
    SESSION = 13  # session, terminal, descriptors, working directory, umask
    PRIVILEGE = 14  # bounding set, ids, capabilities, no_new_privs
    FILTER = 15  # seccomp
    EXEC = 16


#: The phases that Python carries out in the parent; all others are steps of the stage.
PARENT_PHASES = frozenset({Phase.HOST, Phase.CREATED, Phase.READY})
