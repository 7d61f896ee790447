"""The user's configuration file: which profile applies and which plugins are loaded where nothing else is said.

``$XDG_CONFIG_HOME/nsjail-py/config.toml`` (by default below ``~/.config``), read by the command alone: what a library
call does never depends on who calls it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from nsjail_py.errors import Problem, SpecError
from nsjail_py.spec.codec import read
from nsjail_py.spec.section import Section


class Config(Section, frozen=True, kw_only=True):
    """What the file may say.

    :param profile: a profile's name or path, for commands without ``--profile``
    :param plugins: names of plugins that every command loads, as ``--plugin`` does
    """

    profile: Annotated[str, msgspec.Meta(min_length=1, description="a profile's name or path")] = "default"
    plugins: tuple[Annotated[str, msgspec.Meta(min_length=1, description="a plugin's name")], ...] = ()


def config_path(environment: Mapping[str, str]) -> str | None:
    """Where the file is, whether it exists or not.

    :param environment: the environment; ``None`` comes back where it names neither a configuration nor a home directory
    """
    # The XDG specification has a relative path ignored.
    base = environment.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        home = environment.get("HOME", "")
        if not home.startswith("/"):
            return None
        base = os.path.join(home, ".config")
    return os.path.join(base, "nsjail-py", "config.toml")


def load_config(path: str | None) -> Config:
    """Read the file; without one the defaults apply.

    :param path: as ``config_path`` gives it
    :raises SpecError: it cannot be read, or says what it must not
    """
    if path is None or not os.path.lexists(path):
        return Config()
    found = read(path)
    try:
        return msgspec.convert(found, Config)
    except msgspec.ValidationError as error:
        from nsjail_py.spec.explain import explain

        problem = explain("", found, Config, error)
        raise SpecError([Problem(f"{path}: ${problem.path[2:]}", problem.message, problem.hint)]) from None
