"""The ways in which the package can be installed, each into an environment of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsjail_py.version import __version__
from tests.packaging.building import Environment, copy_sources, run

pytestmark = pytest.mark.slow

New = Callable[[], Environment]

USE = """
import os, nsjail_py, nsjail_py_plugins
from nsjail_py.linux import constants, files, process
stage = os.path.join(os.path.dirname(nsjail_py._native.__file__), "_stage")
assert os.access(stage, os.X_OK), stage
child = process.spawn(files.sealed_executable(stage), [-1, -1])
ended = process.wait(child.pidfd)
print(os.path.dirname(stage), ended.status != 0)
"""


def use(environment: Environment) -> Path:
    """Start the installed stage, which ends at once for want of a plan; returns the directory of the package."""
    directory, ended = environment.python("import nsjail_py._native\n" + USE).split()
    assert ended == "True"
    return Path(directory)


def command(environment: Environment) -> str:
    return run([environment.bin / "nsjail-py", "--version"], environment.path)


def test_from_a_wheel(wheel: Path, new_environment: New) -> None:
    environment = new_environment()
    environment.install(wheel)
    assert environment.path in use(environment).parents
    assert __version__ in command(environment)


def test_from_sources(new_environment: New, tmp_path: Path) -> None:
    environment = new_environment()
    environment.install(copy_sources(tmp_path / "clone"))
    assert environment.path in use(environment).parents
    assert __version__ in command(environment)


def test_editable(new_environment: New, tmp_path: Path) -> None:
    environment, clone = new_environment(), copy_sources(tmp_path / "clone")
    environment.install(clone, "--editable")
    assert use(environment) == clone / "nsjail_py"
    assert __version__ in command(environment)


def test_strictly_editable(new_environment: New, tmp_path: Path) -> None:
    """A tree of links: new files need a new install, but nothing that was not installed can be imported."""
    environment, clone = new_environment(), copy_sources(tmp_path / "clone")
    environment.install(clone, "--config-settings=editable_mode=strict", "--editable")
    linked = use(environment)
    assert clone in linked.parents
    assert linked != clone / "nsjail_py"
    assert (linked / "errors.py").samefile(clone / "nsjail_py/errors.py")
    assert __version__ in command(environment)
    assert environment.python("import importlib.util as u; print(u.find_spec('cffi_build'))") == "None\n"


def test_in_place(tmp_path: Path) -> None:
    clone = copy_sources(tmp_path / "clone")
    run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], clone)
    assert os.access(clone / "nsjail_py/_stage", os.X_OK)
    assert run([sys.executable, "-c", "import nsjail_py._native as n; print(n.lib.NSJ_VERSION)"], clone) == "1\n"


def test_a_failing_compiler_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = copy_sources(tmp_path / "clone")
    monkeypatch.setenv("CC", shutil.which("false") or "false")
    with pytest.raises(AssertionError, match="false"):
        run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], clone)
    assert not (clone / "nsjail_py/_stage").exists()
