"""The marks are those of pluggy, so that a built-in plugin is a pluggy plugin like any other."""

from __future__ import annotations

from importlib import import_module

import pluggy
import pytest

from nsjail_py.plugin import hookspecs
from nsjail_py.plugin.manager import BUILTINS
from nsjail_py.plugin.markers import hookimpl, hookspec


def test_implementations_are_marked_alike() -> None:
    def ours() -> None: ...
    def theirs() -> None: ...

    assert vars(hookimpl(ours)) == vars(pluggy.HookimplMarker("nsjail_py")(theirs))


@pytest.mark.parametrize("firstresult", [True, False])
def test_declarations_are_marked_alike(firstresult: bool) -> None:
    def ours() -> None: ...
    def theirs() -> None: ...

    marked = pluggy.HookspecMarker("nsjail_py")(theirs, firstresult=firstresult)
    assert vars(hookspec(firstresult=firstresult)(ours)) == vars(marked)


@pytest.mark.parametrize("module", BUILTINS.values())
def test_pluggy_takes_every_builtin(module: str) -> None:
    manager = pluggy.PluginManager("nsjail_py")
    manager.add_hookspecs(hookspecs)
    manager.register(import_module(module))
    manager.check_pending()
    assert manager.hook.nsjail_section()
