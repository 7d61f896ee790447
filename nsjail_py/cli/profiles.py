"""``nsjail-py profiles``: list profiles, or show one."""

from __future__ import annotations

from collections.abc import Sequence

from nsjail_py.cli.arguments import Parser
from nsjail_py.spec.codec import read
from nsjail_py.spec.profiles import profile_path, profiles


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:  # noqa: ARG001
    """List the names, or print the text of one."""
    parser = Parser("profiles [NAME|FILE]", "List the profiles that come with the package, or show one.")
    _, words = parser.parse(argv)
    parser.nothing_left(words[1:])
    if not words:
        print("\n".join(profiles()))
        return 0
    path = profile_path(words[0])
    # What cannot be read or is no table is an error with its place.
    read(path)
    with open(path, encoding="utf-8") as file:
        print(file.read(), end="")
    return 0
