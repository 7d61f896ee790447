"""``nsjail-py plugins``: which plugins there are, and which are loaded."""

from __future__ import annotations

from collections.abc import Sequence

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.options import configured, plugin_option
from nsjail_py.cli.table import show
from nsjail_py.plugin.manager import BUILTINS, installed


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:
    """List built-in plugins and those that are installed."""
    loaded = configured(plugins)[1]
    parser = Parser("plugins [OPTIONS]", "List plugins: those that come with the package and those that are installed.")
    parser.add("options", (plugin_option(loaded),))
    _, words = parser.parse(argv)
    parser.nothing_left(words)
    packages = dict.fromkeys(BUILTINS, "nsjail_py") | dict(installed())
    rows = [(name, "yes" if name in loaded.types else "no", package) for name, package in packages.items()]
    show(("NAME", "LOADED", "PACKAGE"), rows)
    return 0
