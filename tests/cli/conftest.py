from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.cli.session import Session


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Start the command on a terminal; whatever of it still runs at the end is ended."""
    made: list[Session] = []

    def start(*words: str, rows: int = 24, columns: int = 80, program: list[str] | None = None) -> Session:
        made.append(Session(tmp_path, words, rows=rows, columns=columns, program=program))
        return made[-1]

    yield start
    for each in made:
        each.close()
