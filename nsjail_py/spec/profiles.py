"""Profiles: specs with a name, to lay one's own over."""

from __future__ import annotations

import os
from typing import Any

from nsjail_py.errors import Problem, SpecError
from nsjail_py.spec.codec import Types, load, read
from nsjail_py.spec.spec import SandboxSpec

# By path: importlib.resources costs more than a whole launch.
_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "profiles")

#: The profile that applies where none is named. It means the sections' own defaults, so its file holds only a comment.
DEFAULT = "default"


def profiles() -> tuple[str, ...]:
    """The names of the profiles that come with the package."""
    return tuple(sorted(name[:-5] for name in os.listdir(_FOLDER) if name.endswith(".toml")))


def profile(name: str, types: Types) -> SandboxSpec:
    """A profile's spec.

    :param name: one of ``profiles()``, or the path of a file (it has a ``/``, or ends in ``.toml`` or ``.json``)
    :param types: the section types that there are
    :raises SpecError: there is none of that name, or its file is wrong
    """
    return SandboxSpec() if name == DEFAULT else load(profile_path(name), types)


def raw_profile(name: str) -> dict[str, Any]:
    """A profile as a raw spec, for ``merge_raw``. Parameters and errors as for ``profile``."""
    # A parser for a file without content would cost a cold start 2 ms.
    return {} if name == DEFAULT else read(profile_path(name))


def profile_path(name: str) -> str:
    """Where a profile's file is.

    :param name: as for ``profile``
    :raises SpecError: there is none of that name
    """
    if "/" in name or name.endswith((".toml", ".json")):
        return name
    if name not in (known := profiles()):
        from nsjail_py.spec.explain import closest

        hint = f"{closest(name, known)}, or give the path of a file"
        raise SpecError([Problem("profile", f"no such profile: {name!r}", hint)])
    return os.path.join(_FOLDER, f"{name}.toml")
