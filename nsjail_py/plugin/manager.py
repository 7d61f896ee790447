"""Plugins: which are loaded, and how the core reaches them. The only module that does.

Built-in plugins are imported by name. One by someone else is found through the entry-point group
``nsjail_py.plugins`` (the name of the entry point is the section of the spec), and loaded only when a spec uses its
section or when it is named: no scan at start, and no installed package can silently alter a sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import pluggy

from nsjail_py.errors import PluginError, Problem
from nsjail_py.linux.host import Host
from nsjail_py.plan.part import Part
from nsjail_py.plugin import hookspecs
from nsjail_py.plugin.command import Command, Option
from nsjail_py.plugin.hookspecs import Purpose
from nsjail_py.spec.section import Section
from nsjail_py.spec.spec import SandboxSpec

#: The built-in plugins, by section. The entry points of the package say the same; a test keeps the two equal.
BUILTINS: Mapping[str, str] = {
    "user": "nsjail_py_plugins.user",
    "pid": "nsjail_py_plugins.pid",
    "mnt": "nsjail_py_plugins.mnt",
    "uts": "nsjail_py_plugins.uts",
    "ipc": "nsjail_py_plugins.ipc",
    "net": "nsjail_py_plugins.net",
    "cgroupns": "nsjail_py_plugins.cgroupns",
    "timens": "nsjail_py_plugins.timens",
    "process": "nsjail_py_plugins.process",
    "privileges": "nsjail_py_plugins.privileges",
}

ENTRY_POINTS = "nsjail_py.plugins"


class Plugins:
    """The plugins of one sandbox or one command.

    :param extra: plugins by someone else: names of entry points, or objects that implement hooks
    :raises PluginError: one is not installed, cannot be imported, or owns a section that is taken
    """

    def __init__(self, extra: Iterable[object] = ()) -> None:
        self._manager = pluggy.PluginManager("nsjail_py")
        self._manager.add_hookspecs(hookspecs)
        self._types: dict[str, type[Section]] = {}
        for name, module in BUILTINS.items():
            self._register(name, import_module(module))
        for plugin in extra:
            self.load(plugin)

    def __repr__(self) -> str:
        return f"<Plugins {', '.join(self._types)}>"

    def load(self, plugin: object) -> None:
        """Load one more plugin: the name of an entry point, or an object that implements hooks."""
        if not isinstance(plugin, str):
            self._register(None, plugin)
        elif plugin not in self._types:
            self._register(plugin, _import(plugin))

    @property
    def types(self) -> Mapping[str, type[Section]]:
        """The sections of a spec and their types."""
        return self._types

    def load_for(self, sections: Iterable[str]) -> None:
        """Load the plugins of the sections that a spec uses. A section that no plugin owns is left to the decoder."""
        for name in sections:
            if name not in self._types and _entry_point(name) is not None:
                self.load(name)

    def check(self, spec: SandboxSpec, host: Host) -> list[Problem]:
        """All plugins' problems with a spec."""
        return [problem for _, found in self._each("nsjail_check", spec=spec, host=host) for problem in found]

    def plan(self, spec: SandboxSpec, host: Host, purpose: Purpose) -> list[tuple[str, Part]]:
        """All plugins' parts, each with its owner's section name."""
        return self._each("nsjail_plan", spec=spec, host=host, purpose=purpose)

    def options(self) -> list[tuple[str, list[Option]]]:
        """Command-line options by owner."""
        return [(owner, list(options)) for owner, options in self._each("nsjail_options")]

    def commands(self) -> list[Command]:
        """Verbs that plugins add."""
        return [command for _, commands in self._each("nsjail_commands") for command in commands]

    def explain(self, error: OSError, owner: str, spec: SandboxSpec, host: Host) -> str | None:
        """A hint for a failed step; the owner of the step is asked first."""
        answers = dict(self._each("nsjail_explain", error=error, owner=owner, spec=spec, host=host))
        return answers.get(owner) or next(iter(answers.values()), None)

    def each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook of every plugin that has it.

        :returns: pairs of the owner's section name and what it returned, without ``None``
        :raises PluginError: an implementation by someone else raised something that is not a SandboxError
        """
        return self._each(hook, **arguments)

    def _each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        results: list[tuple[str, Any]] = []
        # called one by one, not through the caller: a part must be attributed to its owner
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            result = implementation.function(*(arguments[name] for name in implementation.argnames))
            if result is not None:
                results.append((implementation.plugin_name, result))
        results.sort(key=lambda pair: pair[0])
        return results

    def _register(self, name: str | None, plugin: object) -> None:
        section: Callable[[], tuple[str, type[Section]]] | None = getattr(plugin, "nsjail_section", None)
        owned, kind = section() if section else (name, None)
        if owned is None:
            raise PluginError(f"{plugin!r} owns no section: it needs the hook nsjail_section")
        if owned in self._types:
            raise PluginError(f"two plugins own the section {owned}")
        if name is not None and owned != name:
            raise PluginError(f"the entry point {name} owns the section {owned}: the two names must be equal")
        if kind is not None:
            self._types[owned] = kind
        try:
            self._manager.register(plugin, owned)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"plugin {owned}: {error}") from error


def _entry_point(name: str) -> Any:
    from importlib.metadata import entry_points

    return next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)


def _import(name: str) -> object:
    found = _entry_point(name)
    if found is None:
        raise PluginError(f"no plugin {name} is installed", hint=f"install the package that has it, in this environment")
    try:
        return found.load()  # type: ignore[no-any-return]
    except Exception as error:
        raise PluginError(f"plugin {name} cannot be imported: {error}") from error


def installed() -> list[tuple[str, str]]:
    """Name and distribution of every installed plugin by someone else."""
    from importlib.metadata import entry_points

    return sorted(
        (point.name, point.dist.name if point.dist else "")
        for point in entry_points(group=ENTRY_POINTS)
        if point.name not in BUILTINS
    )
