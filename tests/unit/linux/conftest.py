"""A program in the place of the stage, and scripts in namespaces of their own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsjail_py.linux import files
from nsjail_py.linux.host import Host
from tests.unit.linux.children import ENTER, Spawner, run_script


@pytest.fixture
def user_namespaces() -> None:
    """Skips where the caller cannot make a user namespace."""
    if "user" not in Host.probe().namespaces:
        pytest.skip(f"no user namespaces here: {Host.probe().namespace_remedy('user')}")


@pytest.fixture
def inside(user_namespaces: None, tmp_path: Path) -> Callable[[str], str]:
    """Runs a script as root of its own user, mount, net, uts and ipc namespace, with an empty directory argv[1]."""
    return lambda script: run_script(ENTER + script, str(tmp_path))


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The probe, as a descriptor to execute."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("probe") / "probe"
    source = Path(__file__).with_name("probe.c")
    subprocess.run([compiler, "-O1", "-o", program, source], check=True)
    return files.sealed_executable(program)


@pytest.fixture
def spawn_probe(probe: int) -> Iterator[Spawner]:
    """Spawns the probe."""
    spawner = Spawner(probe)
    yield spawner
    spawner.close()
