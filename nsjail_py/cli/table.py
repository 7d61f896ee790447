"""Tables: drawn on a terminal, plain aligned text elsewhere. Every cell is made printable (see ``messages``)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nsjail_py.cli.messages import printable


def show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout.

    :param headings: one for each column
    :param rows: as many cells each; they may hold anything
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        _draw(headings, cells)
        return
    lines = [list(headings), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Imported here: rich costs more than everything else a verb does.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        # Text and not str: a cell such as "[red]" is no markup.
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
