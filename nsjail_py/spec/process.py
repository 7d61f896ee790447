"""The process and privileges sections: who the payload is and what it may do."""

from __future__ import annotations

from typing import Annotated

import msgspec

from nsjail_py.spec.section import Section
from nsjail_py.spec.units import AbsolutePath, Permissions, Text, whole

#: The key of an environment variable.
Variable = Annotated[
    str, msgspec.Meta(pattern=whole(r"[^=\x00]+"), description="a variable's name without '=' and NUL characters")
]

#: ``UID``, ``UID:GID``, ``NAME`` or ``NAME:GROUP``; what a passwd file could hold as a name.
UserText = Annotated[
    str,
    msgspec.Meta(
        pattern=whole(r"[^:\s\x00-\x1f]+(?::[^:\s\x00-\x1f]+)?"), description="UID, UID:GID, NAME or NAME:GROUP"
    ),
]

#: An id; the highest 32-bit one means "none" to the kernel.
Id = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)]

Capability = Annotated[
    str,
    msgspec.Meta(
        pattern=whole("CAP_[A-Z]+(?:_[A-Z]+)*"), description="a capability's name, such as CAP_NET_BIND_SERVICE"
    ),
]


#: The longest time that is kept, in seconds: poll(2) counts milliseconds in an int.
LONGEST = 2_000_000


class Process(Section, frozen=True, kw_only=True):
    """The payload.

    :param user: ``UID``, ``UID:GID``, ``NAME`` or ``NAME:GROUP`` of the sandbox's own passwd file; by default 0 in a
        root directory and 1000 (or the caller's own uid) in the host view
    :param groups: supplementary groups
    :param cwd: the working directory; by default the caller's where it is visible inside, else HOME
    :param env: added to a fixed PATH, HOME, TERM and LANG
    :param umask: octal in text
    :param tty: give it a terminal, even where the caller has none
    :param timeout: seconds of wall-clock time after which everything in the sandbox is killed; at most 23 days
    """

    user: UserText | None = None
    groups: tuple[Id, ...] = ()
    cwd: AbsolutePath | None = None
    env: dict[Variable, Text] = {}  # noqa: RUF012 - msgspec copies it
    umask: Permissions = "022"
    tty: bool = False
    timeout: Annotated[float, msgspec.Meta(gt=0, le=LONGEST)] | None = None


class Privileges(Section, frozen=True, kw_only=True):
    """What the payload may do.

    :param capabilities: the ones it keeps, in all five sets, by name (``CAP_NET_BIND_SERVICE``)
    :param no_new_privs: set-user-id programs raise nothing
    """

    capabilities: tuple[Capability, ...] = ()
    no_new_privs: bool = True
