"""The kernel's constants, and those of the contract with the stage (``NSJ_*``), by their C names.

None is written here: the extension has them from the headers it was compiled with, and each is looked up on first
use. `constants.pyi` tells type checkers their names.

>>> from nsjail_py.linux.constants import CLONE_NEWUSER
>>> hex(CLONE_NEWUSER)
'0x10000000'
"""

from __future__ import annotations

from nsjail_py._native import lib


def __getattr__(name: str) -> int:
    value = None if name.startswith("nsj_") else getattr(lib, name, None)
    if not isinstance(value, int):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next use is an ordinary attribute
    return value


def __dir__() -> list[str]:
    return [name for name in dir(lib) if name.isupper() or name.startswith(("SYS_", "NSJ_"))]
