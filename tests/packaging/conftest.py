"""The package built once a session, and environments to install it into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.building import Environment, build, copy_sources


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a fresh clone."""
    return build(copy_sources(tmp_path_factory.mktemp("sources") / "clone"), "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from a fresh clone."""
    return build(copy_sources(tmp_path_factory.mktemp("sources") / "clone"), "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture
def new_environment(tmp_path: Path) -> Callable[[], Environment]:
    """Makes a virtual environment without this package."""
    return lambda: Environment(tmp_path / "environment")
