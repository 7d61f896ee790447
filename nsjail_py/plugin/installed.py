"""Plugins by someone else, as their packages declare them: an entry point in the group ``nsjail_py.plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsjail_py.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "nsjail_py.plugins"


def find(name: str) -> EntryPoint | None:
    """The entry point of a name, or ``None`` where no package declares it.

    :raises PluginError: two packages declare it; which one is meant must not depend on the order of ``sys.path``
    """
    # Reads the metadata of every installed package, tens of milliseconds: never on the way of a default launch.
    from importlib.metadata import entry_points

    found = list(entry_points(group=ENTRY_POINTS, name=name))
    if len({point.value for point in found}) > 1:
        packages = ", ".join(sorted(_package(point) for point in found))
        raise PluginError(f"several packages provide a plugin {name}: {packages}", hint="uninstall all but one")
    return found[0] if found else None


def load(name: str) -> object:
    """Import a plugin.

    :raises PluginError: it is not installed, or its import fails; the failure is the ``__cause__``
    """
    found = find(name)
    if found is None:
        hint = "install the package that provides it into this environment; nsjail-py plugins lists those there are"
        raise PluginError(f"no plugin {name} is installed", hint=hint)
    try:
        return found.load()  # type: ignore[no-any-return, unused-ignore]
    except Exception as error:
        raise PluginError(
            f"plugin {name} cannot be imported: {type(error).__name__}: {error}",
            hint=f"it comes from the package {_package(found)}; reinstall or uninstall that",
        ) from error


def strangers(builtin: frozenset[str]) -> list[tuple[str, str]]:
    """Name and package of every installed plugin but the built-in ones, whether loaded or not.

    :param builtin: the names of the built-in ones
    """
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    return sorted((point.name, _package(point)) for point in found if point.name not in builtin)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
