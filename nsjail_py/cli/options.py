"""The options of ``run`` and ``plan``: the command's own, and a help group for each plugin."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nsjail_py.cli.arguments import Parser
from nsjail_py.plugin.command import Option
from nsjail_py.plugin.manager import Plugins
from nsjail_py.running import valid_name
from nsjail_py.spec.codec import decode, merge_raw, read
from nsjail_py.spec.config import Config, config_path, load_config
from nsjail_py.spec.profiles import raw_profile
from nsjail_py.spec.section import Section
from nsjail_py.spec.spec import SandboxSpec

#: The table of the command's own options among those of the spec; no section can have this name.
OWN = "--"

_NAMESPACES = {"cgroup": "cgroupns", "time": "timens"}


class Choices(Section, frozen=True, kw_only=True):
    """What the command's own options say.

    :param profile: name or file of the profile
    :param specs: raw specs of files, the lowest first
    :param name: the sandbox's name while it runs
    :param interactive: feed a terminal of its own from stdin even where that is none
    :param result: file for the result
    :param trace: show the time of every step
    :param json: JSON instead of text
    """

    profile: str | None = None
    specs: tuple[dict[str, Any], ...] = ()
    name: str | None = None
    interactive: bool = False
    result: str | None = None
    trace: bool = False
    json: bool = False


class SandboxOptions:
    """A parser that knows what describes a sandbox.

    :param usage: see ``Parser``
    :param about: see ``Parser``
    :param names: plugins named before the verb
    :param own: options of this verb alone
    """

    def __init__(self, usage: str, about: str, names: Sequence[str], own: Sequence[Option]) -> None:
        self.config, self.plugins = configured(names)
        self.parser = Parser(usage, about)
        self.parser.add("options", (*self._layers(), *own))
        self._known: set[str] = set()
        self._add_groups()

    def parse(self, argv: Sequence[str]) -> tuple[SandboxSpec, Choices, list[str]]:
        """Read the words after the verb.

        :returns: the spec, the command's own choices, and the words after the options
        :raises UsageError: see ``Parser.parse``
        :raises SpecError: what the options, the profile and the files say together is no spec
        """
        filled, words = self.parser.parse(argv)
        choices = msgspec.convert(filled.pop(OWN, {}), Choices)
        tables = merge_raw((raw_profile(choices.profile or self.config.profile), *choices.specs, filled))
        self.plugins.load_for(tables)
        return decode(tables, "toml", self.plugins.types), choices, words

    def _add_groups(self) -> None:
        for owner, options in self.plugins.options():
            if owner not in self._known:
                self._known.add(owner)
                self.parser.add(owner, options)

    def _layers(self) -> Sequence[Option]:
        return (
            Option(flag="--spec", metavar="FILE", help="a spec in TOML or JSON", repeat=True, fill=self._spec),
            own("--profile", "what it is laid over: default, trusted or a file", "profile", metavar="NAME|FILE"),
            Option(flag="--plugin", metavar="NAME", help="load a plugin", repeat=True, fill=self._plugin),
            Option(
                flag="--ns",
                metavar="NAME=MODE",
                help="a namespace: on, off, try, path:PATH, pid:PID, fd:FD or name:NAME",
                repeat=True,
                fill=self._namespace,
            ),
        )

    def _spec(self, path: str) -> dict[str, Any]:
        tables = read(path)
        self.plugins.load_for(tables)
        self._add_groups()
        return {OWN: {"specs": [tables]}}

    def _plugin(self, name: str) -> dict[str, Any]:
        self.plugins.load(name)
        self._add_groups()
        return {}

    def _namespace(self, text: str) -> dict[str, Any]:
        name, equals, mode = text.partition("=")
        section = _NAMESPACES.get(name, name)
        valid = [name for name, kind in self.plugins.types.items() if "mode" in kind.__struct_fields__]
        if not equals or section not in valid:
            raise ValueError(f"expected NAME=MODE with a name of {', '.join(sorted(valid))}, got {text!r}")
        return {section: {"mode": mode}}


def configured(names: Sequence[str]) -> tuple[Config, Plugins]:
    """The configuration file, and the plugins that it and the command line name.

    :param names: plugins of the command line
    """
    config = load_config(config_path(os.environ))
    return config, Plugins(dict.fromkeys((*config.plugins, *names)))


def plugin_option(plugins: Plugins) -> Option:
    """``--plugin`` for verbs without a sandbox."""

    def load(name: str) -> dict[str, Any]:
        plugins.load(name)
        return {}

    return Option(flag="--plugin", metavar="NAME", help="load a plugin", repeat=True, fill=load)


def own(
    flag: str,
    about: str,
    key: str,
    *,
    metavar: str | None = None,
    short: str | None = None,
    read: Callable[[str], object] = str,
) -> Option:
    """An option of the command's own.

    :param flag: with its dashes
    :param about: one line of help
    :param key: the field of ``Choices`` that it sets
    :param metavar: see ``Option``
    :param short: see ``Option``
    :param read: makes the value of the text; raises ValueError
    """

    def fill(value: Any) -> dict[str, Any]:
        return {OWN: {key: value if metavar is None else read(value)}}

    return Option(flag=flag, help=about, metavar=metavar, short=short, fill=fill)


def tty(fill: Callable[[Any], dict[str, Any]]) -> Option:
    """``-t``.

    :param fill: see ``Option``
    """
    about = "give it a terminal (it has one anyway where stdin and stdout are one)"
    return Option(flag="--tty", short="-t", help=about, fill=fill)


INTERACTIVE = own("--interactive", "feed that terminal from stdin even where that is none", "interactive", short="-i")


def name(text: str) -> str:
    """Check a sandbox's name."""
    if not valid_name(text):
        raise ValueError("expected at most 64 letters, digits, '_', '.' and '-', and a letter or digit first")
    return text
