"""The section ``sysctl`` of a spec."""

from __future__ import annotations

from typing import Annotated

import msgspec

from nsjail_py.plugin import Section

#: A setting that a namespace has for itself, in the notation of sysctl(8).
Setting = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?:net|kernel|fs)(?:\.[A-Za-z0-9_-]+)+$",
        description="the name of a setting, such as net.ipv4.tcp_ecn",
    ),
]
Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]*$", description="an absolute path")]


class Sysctl(Section, frozen=True, kw_only=True):
    """Kernel settings of the sandbox's own.

    :param values: settings and their values
    :param timer_slack: nanoseconds by which the kernel may delay the payload's timers; 0 leaves it at 50000
    :param leases: a directory of the host in which a file stands for the sandbox as long as it lives. Whoever ends
        a sandbox from outside removes its lease first, and the result says that it was revoked
    """

    values: dict[Setting, str] = {}  # noqa: RUF012 - msgspec copies it
    timer_slack: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    leases: Folder | None = None
