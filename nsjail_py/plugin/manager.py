"""Plugins: which are loaded, and how the core reaches them. The only module that does.

Built-in plugins are imported by name. One by someone else is found through the entry-point group
``nsjail_py.plugins`` (the name of the entry point is the section of the spec), and loaded only when a spec uses its
section or when it is named: no scan at start, and no installed package can silently alter a sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import msgspec

from nsjail_py.errors import PluginError, Problem, SandboxError, UnsupportedError
from nsjail_py.linux.host import Host
from nsjail_py.plan.part import Part
from nsjail_py.plugin import hookspecs
from nsjail_py.plugin import installed as packages
from nsjail_py.plugin.command import Command, Option
from nsjail_py.plugin.evidence import Evidence, Line, LiveProcess
from nsjail_py.plugin.hookspecs import Purpose
from nsjail_py.plugin.installed import ENTRY_POINTS
from nsjail_py.spec.section import Section
from nsjail_py.spec.spec import SandboxSpec

__all__ = ["BUILTINS", "ENTRY_POINTS", "Plugins", "installed"]

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

#: What the elements of a hook's answer are.
_ELEMENTS: Mapping[str, type] = {
    "nsjail_options": Option,
    "nsjail_commands": Command,
    "nsjail_check": Problem,
    "nsjail_doctor": Line,
    "nsjail_sweep": str,
}
#: What a hook's answer is, for those that answer with one thing.
_ANSWERS: Mapping[str, type] = {
    "nsjail_plan": Part,
    "nsjail_usage": Mapping,
    "nsjail_verdict": str,
    "nsjail_explain": str,
}

#: Owner, function, and the names of the parameters that it takes.
Implementation = tuple[str, Any, tuple[str, ...]]

#: The same before it has an owner: hook, function, names.
Implemented = tuple[str, Any, tuple[str, ...]]

#: Takes a plugin's owner and the plugin.
Reader = Callable[[str, object], Iterable[Implemented]]


class Plugins:
    """The plugins of one sandbox or one command.

    :param extra: plugins by someone else: names of entry points, or objects that implement hooks
    :raises PluginError: one is not installed, cannot be imported, or owns a section that is taken
    """

    _builtin: Plugins | None = None
    _types: dict[str, type[Section]]
    _loaded: dict[str, object]
    _hooks: dict[str, tuple[Implementation, ...]]

    def __init__(self, extra: Iterable[object] = ()) -> None:
        base = _builtins()
        self._types = dict(base._types)
        self._loaded = dict(base._loaded)
        self._hooks = dict(base._hooks)
        for plugin in extra:
            self.load(plugin)

    def __repr__(self) -> str:
        return f"<Plugins {', '.join(self._loaded)}>"

    # ---- which there are ----

    @property
    def types(self) -> Mapping[str, type[Section]]:
        """The sections of a spec and their types."""
        return self._types

    @property
    def strangers(self) -> tuple[str, ...]:
        """The names of those that are not built in."""
        return tuple(name for name in self._loaded if name not in BUILTINS)

    def load(self, plugin: object) -> None:
        """Load one more plugin, unless it is loaded: the name of an entry point, or an object that implements hooks.

        :raises PluginError: it is not installed, cannot be imported, is no plugin, or owns a section that is taken
        """
        if isinstance(plugin, str):
            if plugin not in self._loaded:
                self._add(plugin, packages.load(plugin), _registered)
        elif not any(plugin is each for each in self._loaded.values()):
            self._add(None, plugin, _registered)

    def load_for(self, sections: Iterable[str]) -> None:
        """Load the plugins of the sections that a spec uses. A section that no plugin owns is left to the decoder."""
        for name in sections:
            if name not in self._loaded and packages.find(name) is not None:
                self.load(name)

    # ---- what they say ----

    def options(self) -> list[tuple[str, list[Option]]]:
        """Command-line options by owner."""
        return self.each("nsjail_options")

    def commands(self) -> list[Command]:
        """Verbs that plugins add."""
        return [command for _, commands in self.each("nsjail_commands") for command in commands]

    def check(self, spec: SandboxSpec, host: Host) -> list[Problem]:
        """All plugins' problems with a spec."""
        return [problem for _, found in self.each("nsjail_check", spec=spec, host=host) for problem in found]

    def plan(self, spec: SandboxSpec, host: Host, purpose: Purpose) -> list[tuple[str, Part]]:
        """All plugins' parts, each with its owner's section name."""
        parts: list[tuple[str, Part]] = self.each("nsjail_plan", spec=spec, host=host, purpose=purpose)
        for owner, part in parts:
            try:
                msgspec.json.encode(part.facts)
            except TypeError as error:  # they go into the sandbox's record
                raise _broken(owner, "nsjail_plan", f"its facts cannot be written as JSON: {error}") from error
        return parts

    def update(self, section: str, process: LiveProcess, changes: Mapping[str, Any]) -> None:
        """Have the owner of a section apply changes to a running sandbox.

        :raises UnsupportedError: the section cannot be changed while a sandbox runs
        """
        if not any(owner == section for owner, _, _ in self._hooks["nsjail_update"]):
            raise UnsupportedError(f"{section} cannot be changed while the sandbox runs", hint="start another one")
        for owner, function, names in self._hooks["nsjail_update"]:
            if owner == section:
                _call(owner, "nsjail_update", function, names, {"process": process, "changes": changes})

    def usage(self, process: LiveProcess) -> list[tuple[str, Mapping[str, Any]]]:
        """Measurements by owner."""
        return self.each("nsjail_usage", process=process)

    def verdicts(self, process: LiveProcess, evidence: Evidence) -> list[tuple[str, str]]:
        """Reasons for the end, by owner."""
        return self.each("nsjail_verdict", process=process, evidence=evidence)

    def explain(self, error: OSError, owner: str, spec: SandboxSpec, host: Host) -> str | None:
        """A hint for a failed step; the owner of the step is asked first."""
        arguments = {"error": error, "owner": owner, "spec": spec, "host": host}
        for name, function, names in sorted(self._hooks["nsjail_explain"], key=lambda each: each[0] != owner):
            hint: str | None = _call(name, "nsjail_explain", function, names, arguments)
            if hint is not None:
                return hint
        return None

    def doctor(self, host: Host) -> list[tuple[str, list[Line]]]:
        """Lines for ``nsjail-py doctor``, by owner."""
        return self.each("nsjail_doctor", host=host)

    def sweep(self, record: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, Exception]]]:
        """Have every plugin undo what a dead sandbox left behind; the failure of one keeps no other from its work.

        :returns: what was undone, and the failures by owner
        """
        done: list[str] = []
        failed: list[tuple[str, Exception]] = []
        for owner, function, names in self._hooks["nsjail_sweep"]:
            try:
                done += _call(owner, "nsjail_sweep", function, names, {"record": record}) or ()
            except (SandboxError, OSError) as error:
                failed.append((owner, error))
        return done, failed

    def each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook of every plugin that has it.

        :returns: pairs of the owner's section name and what it returned, without ``None``, in the order of the names
        :raises PluginError: an implementation raised something that is neither a SandboxError nor an OSError, which is
            the ``__cause__``, or returned what the hook must not return
        """
        # one by one, not through pluggy's own caller: a part must be attributed to its owner
        answers = [(owner, _call(owner, hook, fn, names, arguments)) for owner, fn, names in self._hooks[hook]]
        return [(owner, answer) for owner, answer in answers if answer is not None]

    # ---- loading ----

    def _add(self, name: str | None, plugin: object, read: Reader) -> None:
        owned, kind = _section(name, plugin)
        if owned in self._loaded:
            raise PluginError(f"two plugins own the section {owned}", hint="load one of them")
        if name is not None and owned != name:
            raise PluginError(f"the entry point {name} owns the section {owned}: the two names must be equal")
        for hook, function, names in read(owned, plugin):
            self._hooks[hook] = tuple(sorted((*self._hooks[hook], (owned, function, names)), key=lambda each: each[0]))
        self._loaded[owned] = plugin
        if kind is not None:
            self._types[owned] = kind


def _builtins() -> Plugins:
    """The built-in plugins, read once, and by their marks alone: see ``markers``."""
    found = Plugins._builtin
    if found is None:
        found = Plugins.__new__(Plugins)
        found._types = {}
        found._loaded = {}
        found._hooks = dict.fromkeys(_HOOKS, ())
        for name, module in BUILTINS.items():
            found._add(name, import_module(module), _marked)
        Plugins._builtin = found
    return found


_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("nsjail_"))


def _only_hooks(plugin: object) -> SimpleNamespace:
    names = [name for name in dir(plugin) if name.startswith("nsjail_")]
    return SimpleNamespace(**{name: getattr(plugin, name) for name in names})


def _section(name: str | None, plugin: object) -> tuple[str, type[Section] | None]:
    """The section that a plugin owns, and its type; one that is named and owns none has only the name."""
    hook = getattr(plugin, "nsjail_section", None)
    who = name or repr(plugin)
    if hook is None:
        if name is None:
            raise PluginError(f"{plugin!r} owns no section: it needs the hook nsjail_section")
        return name, None
    answer = _call(who, "nsjail_section", hook, (), {})
    match answer:
        case (str(owned), type() as kind) if issubclass(kind, Section) and owned.isidentifier():
            return owned, kind
        case _:
            raise _broken(who, "nsjail_section", f"returned {answer!r}, not a name and a type of Section")


def _marked(owner: str, plugin: object) -> Iterator[Implemented]:  # noqa: ARG001 - a Reader
    """The hooks of a built-in plugin, by their marks alone."""
    for hook in _HOOKS:
        function = getattr(plugin, hook, None)
        if function is not None:
            yield hook, function, function.__code__.co_varnames[: function.__code__.co_argcount]


def _registered(owner: str, plugin: object) -> Iterator[Implemented]:
    """The hooks of a plugin by someone else, as far as pluggy finds nothing wrong with them."""
    import pluggy

    for hook in _HOOKS:
        if callable(getattr(plugin, hook, None)) and not hasattr(getattr(plugin, hook), "nsjail_py_impl"):
            raise PluginError(f"plugin {owner}: {hook} is not marked as a hook", hint="write @hookimpl above it")
    manager = pluggy.PluginManager("nsjail_py")
    # pluggy looks at every attribute of what it is given, twice; a module has many that are no hooks
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(_only_hooks(plugin), owner)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {owner}: {error}") from error
    for hook in _HOOKS:
        for each in getattr(manager.hook, hook).get_hookimpls():
            if each.hookwrapper or each.wrapper:
                raise PluginError(f"plugin {owner}: {hook} is a wrapper, which would come between another and the core")
            yield hook, each.function, each.argnames


def _call(owner: str, hook: str, function: Any, names: tuple[str, ...], arguments: Mapping[str, Any]) -> Any:
    try:
        answer = function(*[arguments[name] for name in names])
        if hook in _ELEMENTS and answer is not None:
            answer = [answer] if isinstance(answer, str) else list(answer)  # a generator runs here, not at its reader's
    except (SandboxError, OSError):
        raise
    except Exception as error:
        raise _broken(owner, hook, f"{type(error).__name__}: {error}") from error
    if answer is None:
        return None
    element, kind = _ELEMENTS.get(hook), _ANSWERS.get(hook)
    if element is not None:
        for each in answer:
            if not isinstance(each, element):
                raise _broken(owner, hook, f"returned {type(each).__name__} {each!r} in place of {element.__name__}")
    if kind is not None and not isinstance(answer, kind):
        raise _broken(owner, hook, f"returned {type(answer).__name__} {answer!r} in place of {kind.__name__}")
    return answer


def _broken(owner: str, hook: str, what: str) -> PluginError:
    hint = "a mistake in the plugin, not in the spec: tell its author"
    return PluginError(f"plugin {owner}: {hook}: {what}", hint=hint)


def installed() -> list[tuple[str, str]]:
    """Name and package of every installed plugin by someone else, loaded or not."""
    return packages.strangers(frozenset(BUILTINS))
