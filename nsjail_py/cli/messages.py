"""What the command says on stderr, and the one rule for text that others had a hand in.

A sandbox's name, a command's words, a path: all may hold control characters, which a terminal would obey.
"""

from __future__ import annotations

import sys

from nsjail_py.errors import ProgramError, SandboxError, SpecError

PROGRAM = "nsjail-py"

SETUP_FAILED = 125


class UsageError(SandboxError):
    """The command line is wrong."""


def printable(text: str) -> str:
    r"""Text with everything that is no printable character escaped, as in ``\x1b``.

    >>> printable("a\x1b[2Jb\u202e")
    'a\\x1b[2Jb\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def complain(message: str, hint: str | None = None) -> None:
    """Say what is wrong and, on a line of its own, what to do about it."""
    lines = [f"{PROGRAM}: {printable(message)}"]
    if hint:
        lines.append(f"hint: {printable(hint)}")
    # Without stderr, print() would write to stdout.
    if sys.stderr is not None:
        print("\n".join(lines), file=sys.stderr)


def error_status(error: SandboxError) -> int:
    """What the command exits with: 126 or 127 where only the program was at fault, as a shell has it."""
    return error.exit_status if isinstance(error, ProgramError) else SETUP_FAILED


def report(error: SandboxError) -> None:
    """Say an error; a spec's problems one by one."""
    if isinstance(error, SpecError):
        for problem in error.problems:
            complain(f"{problem.path}: {problem.message}", problem.hint)
    else:
        complain(error.message, error.hint)
