"""Field types that several sections share, and what their text means.

A value keeps the form in which it was written (``"256M"`` stays text), so that a spec prints as its author wrote it;
``size_bytes`` and its siblings give the meaning. The patterns are part of the JSON Schema, so they keep to the
syntax that Python and ECMAScript share. Durations are plain numbers of seconds and need no type here.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, cast

import msgspec


def whole(pattern: str) -> str:
    """Make a pattern match a text from end to end.

    ``$`` alone also matches before a final newline in Python, so ``"web\\n"`` would pass as a host name; ``\\Z`` is
    unknown to JSON Schema.
    """
    return f"^(?:{pattern})$(?!\\n)"


_SIZE = r"[0-9]+(?:\.[0-9]+)?[kKMGTP]|[0-9]+"
_SIZE_MEANING = "a size: bytes as a number, or text such as 64k, 256M or 1.5G"

_TEXT = r"[^\x00]"
# No component is `..`: where it leads depends on symbolic links, and a target must not leave the root.
_ABSOLUTE = rf"/(?!(?:{_TEXT}*/)?\.\.(?:/|$)){_TEXT}*"

#: Bytes, or text with a unit: k, M, G, T and P are powers of 1024.
Size = Annotated[
    Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=whole(_SIZE))],
    msgspec.Meta(description=_SIZE_MEANING),
]

#: A limit that may be soft: ``"try 256M"`` is applied where it can be, and its absence is a warning.
SoftSize = Annotated[
    Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=whole(f"(?:try )?(?:{_SIZE})"))],
    msgspec.Meta(description=f"{_SIZE_MEANING}; after the word try it is applied only where that is possible"),
]

#: Any text that the kernel can be given: it ends a string at the first NUL.
Text = Annotated[str, msgspec.Meta(pattern=whole(f"{_TEXT}*"), description="text without a NUL character")]

#: A path from the root on, without ``..``.
AbsolutePath = Annotated[
    str, msgspec.Meta(pattern=whole(_ABSOLUTE), description="an absolute path without .. and NUL characters")
]

#: Permission bits, octal in text (a TOML number would be read as decimal).
Permissions = Annotated[
    str, msgspec.Meta(pattern=whole("[0-7]{3,4}"), description="permission bits in octal as text, such as '755'")
]

# A sandbox's name, as `running.valid_name` has it.
_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_JOIN = rf"path:{_ABSOLUTE}|pid:[1-9][0-9]{{0,9}}|fd:[0-9]{{1,9}}|name:{_NAME}"

#: How a namespace is made or joined; ``parse_mode`` reads it.
ModeText = Annotated[
    str,
    msgspec.Meta(
        pattern=whole(f"on|off|try|{_JOIN}"), description="on, off, try, path:PATH, pid:PID, fd:FD or name:NAME"
    ),
]

#: The same for the network namespace, which has names of its own for kinds of ``on`` and ``off``.
NetModeText = Annotated[
    str,
    msgspec.Meta(
        pattern=whole(f"loopback|none|host|on|off|try|{_JOIN}"),
        description="loopback, none, host, on, off, try, path:PATH, pid:PID, fd:FD or name:NAME",
    ),
]

ModeKind = Literal["on", "off", "try", "path", "pid", "fd", "name"]

# As text: few sandboxes need them, so they are compiled (and kept, by re) only when one does.
_MODE = whole(_JOIN)
_WRITTEN = whole(r"(try )?(?:([0-9]+)(?:\.([0-9]+))?([kKMGTP])|([0-9]+))")
_POWERS = {"k": 10, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}


class Mode(msgspec.Struct, frozen=True):
    """What a mode's text says.

    :param kind: ``on`` a new namespace, ``off`` the caller's, ``try`` a new one where the kernel allows it; the others
        join an existing one
    :param value: the path, pid, descriptor or name of the one to join
    """

    kind: ModeKind
    value: str = ""

    @property
    def joined(self) -> bool:
        """An existing namespace is entered."""
        return self.kind in ("path", "pid", "fd", "name")

    @property
    def number(self) -> int:
        """The pid or descriptor. Raises ValueError for the other kinds."""
        return int(self.value)


class Limit(msgspec.Struct, frozen=True):
    """A limit and how much it is meant.

    :param value: in the limit's unit
    :param soft: it is only a warning where it cannot be applied
    """

    value: int
    soft: bool = False


def size_bytes(value: int | str) -> int:
    """The meaning of a ``Size``.

    :param value: bytes, or text such as ``"1.5G"``
    :returns: bytes; a fraction of a byte is dropped
    :raises ValueError: it is no size
    """
    limit = size_limit(value)
    if limit.soft:
        raise ValueError(f"'try' has no meaning for this size: {value!r}")
    return limit.value


def size_limit(value: int | str) -> Limit:
    """The meaning of a ``SoftSize``.

    :param value: bytes, or text such as ``"256M"`` or ``"try 256M"``
    :raises ValueError: it is no size
    """
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"a size is not negative: {value}")
        return Limit(value)
    match = re.match(_WRITTEN, value)
    if match is None:
        raise ValueError(f"not {_SIZE_MEANING}: {value!r}")
    soft, integer, fraction, unit, plain = match.groups()
    if plain is not None:
        return Limit(int(plain), soft is not None)
    power = _POWERS[unit]
    # In integers: a float would round sizes above 2**53.
    part = (int(fraction) << power) // 10 ** len(fraction) if fraction else 0
    return Limit((int(integer) << power) + part, soft is not None)


def parse_mode(text: str) -> Mode:
    """Read a namespace mode.

    :param text: as ``ModeText`` describes it
    :raises ValueError: it is no mode
    """
    if text not in ("on", "off", "try") and re.match(_MODE, text) is None:
        raise ValueError(f"not a namespace mode: {text!r} (on, off, try, path:PATH, pid:PID, fd:FD or name:NAME)")
    kind, _, value = text.partition(":")
    return Mode(cast(ModeKind, kind), value)
