"""Help texts; only imported when one is wanted."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.messages import PROGRAM
from nsjail_py.plugin.command import Option

_INDENT = 28


def parser_help(parser: Parser) -> str:
    """The help of one verb: its own options first, then a group for each plugin."""
    parts = [f"usage: {PROGRAM} {parser.usage}\n", f"{parser.about}\n"]
    for title, options in parser.groups.items():
        parts.append(f"{title}:\n{entries((_synopsis(option), _about(option)) for option in options)}")
    return "\n".join(parts)


def entries(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they mean, in two columns.

    :param pairs: name and meaning
    """
    width = max(60, min(_columns(), 120))
    lines: list[str] = []
    for name, meaning in pairs:
        wrapped = textwrap.wrap(meaning, width - _INDENT) or [""]
        if len(name) + 4 > _INDENT:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name}".ljust(_INDENT) + wrapped.pop(0))
        lines += [" " * _INDENT + line for line in wrapped]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _synopsis(option: Option) -> str:
    value = f" {option.metavar}" if option.metavar else ""
    return f"{option.short}, {option.flag}{value}" if option.short else f"{option.flag}{value}"


def _about(option: Option) -> str:
    return f"{option.help} (repeatable)" if option.repeat else option.help


def _columns() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 100
