"""``nsjail-py gc``: undo what sandboxes left behind whose owner was killed."""

from __future__ import annotations

from collections.abc import Sequence

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.messages import complain, printable
from nsjail_py.engine.sweep import sweep


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:  # noqa: ARG001
    """Say what was done and what could not be done, a line each."""
    parser = Parser("gc [OPTIONS]", "Undo what sandboxes left behind whose owner was killed.")
    _, words = parser.parse(argv)
    parser.nothing_left(words)
    try:
        for line in sweep():
            print(printable(line))
    except OSError as error:
        complain(f"cannot use the state directory: {error.filename}: {error.strerror}")
        return 1
    return 0
