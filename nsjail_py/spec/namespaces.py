"""The sections of the simple namespaces."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from nsjail_py.spec.section import Section
from nsjail_py.spec.units import ModeText, NetModeText, whole

#: A host name of RFC 1123, at most 64 bytes as the kernel has it.
HostName = Annotated[
    str,
    msgspec.Meta(
        pattern=whole(
            r"(?!.{65})[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
        ),
        description="a host name of letters, digits, '-' and '.', at most 64 long",
    ),
]

#: Seconds, of either sign; the kernel refuses more than about 146 years either way.
ClockOffset = Annotated[float, msgspec.Meta(ge=-4611686018, le=4611686018)]

#: One range of an id map.
IdRangeText = Annotated[
    str,
    msgspec.Meta(
        pattern=whole("[0-9]{1,10}:[0-9]{1,10}:[1-9][0-9]{0,9}"), description="a range of ids as INSIDE:OUTSIDE:COUNT"
    ),
]


class User(Section, frozen=True, kw_only=True):
    """The user namespace.

    :param mode: see ``ModeText``
    :param map: which ids exist inside. ``auto``: ``range`` for root and for a user with an entry in ``/etc/subuid``
        where ids other than the payload's are needed, else ``single``. ``single``: only the payload's id. ``range``:
        ``count`` ids from 0 on. ``keep``: the payload has the caller's own ids (keep-id)
    :param count: how many ids a range has
    :param uids: explicit uid map, each ``inside:outside:count``; takes the place of ``map``
    :param gids: explicit gid map
    :param nested: allow further user namespaces inside
    """

    mode: ModeText = "on"
    map: Literal["auto", "single", "range", "keep"] = "auto"
    count: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 2)] = 65536
    uids: tuple[IdRangeText, ...] = ()
    gids: tuple[IdRangeText, ...] = ()
    nested: bool = False


class Pid(Section, frozen=True, kw_only=True):
    """The pid namespace.

    :param mode: see ``ModeText``
    :param init: run a small init as pid 1, which reaps and forwards signals; without it the payload is pid 1
    :param die_with_owner: everything in the sandbox is killed when the process that started it ends
    """

    mode: ModeText = "on"
    init: bool = True
    die_with_owner: bool = True


class Uts(Section, frozen=True, kw_only=True):
    """The UTS namespace: host and domain name.

    :param mode: see ``ModeText``
    :param hostname: the host name inside
    :param domainname: the NIS domain name inside
    """

    mode: ModeText = "on"
    hostname: HostName = "sandbox"
    domainname: HostName | None = None


class Ipc(Section, frozen=True, kw_only=True):
    """The IPC namespace: System V objects and POSIX message queues.

    :param mode: see ``ModeText``
    """

    mode: ModeText = "on"


class Net(Section, frozen=True, kw_only=True):
    """The network namespace.

    :param mode: ``loopback`` a new namespace with lo up; ``none`` with lo down; ``host`` the caller's network, no
        isolation; or as in ``ModeText`` (``on`` is ``loopback``, ``off`` is ``host``)
    """

    mode: NetModeText = "loopback"


class Cgroupns(Section, frozen=True, kw_only=True):
    """The cgroup namespace: the sandbox's own group looks like the root of the tree.

    :param mode: see ``ModeText``
    """

    mode: ModeText = "on"


class Timens(Section, frozen=True, kw_only=True):
    """The time namespace. It shifts the monotonic and boot clocks, never the wall clock (time_namespaces(7)).

    :param mode: see ``ModeText``; an offset other than 0 switches it on
    :param monotonic: seconds added to CLOCK_MONOTONIC
    :param boottime: seconds added to CLOCK_BOOTTIME
    """

    mode: ModeText = "off"
    monotonic: ClockOffset = 0
    boottime: ClockOffset = 0
