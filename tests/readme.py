"""The fenced blocks of a Markdown file: ``python3 -m tests.readme LANGUAGE NUMBER`` prints one of README.md.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block.

    :param file: relative to the sources
    :param line: where it begins
    :param language: the word after the fence
    :param text: what is in it
    """

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Every block of a file that names its language, in order."""
    text = path.read_text()
    name = path.relative_to(SOURCES).as_posix()
    return [Block(name, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _FENCE.finditer(text)]


def main() -> None:
    """Print one block of README.md, counted from 1 within its language."""
    language, number = sys.argv[1], int(sys.argv[2])
    print([block for block in blocks(SOURCES / "README.md") if block.language == language][number - 1].text, end="")


if __name__ == "__main__":
    main()
