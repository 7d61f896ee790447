"""Building and installing the package from a copy of its sources, by the same calls that pip makes (PEP 517)."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2]

#: What a checkout has and a fresh clone has not.
MADE = ("build", "dist", "*.egg-info", "__pycache__", "*.so", "_stage", ".git", ".*_cache", ".venv", ".hypothesis")


def copy_sources(target: Path) -> Path:
    """A copy of the sources as a fresh clone has them."""
    shutil.copytree(SOURCES, target, ignore=shutil.ignore_patterns(*MADE), symlinks=True)
    return target


def build(sources: Path, kind: str, target: Path) -> Path:
    """Build an ``sdist`` or a ``wheel``; returns its path."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77 or later: pip install .[dev]")
    target.mkdir(exist_ok=True)
    script = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    run([sys.executable, "-c", script, target], sources)
    (built,) = target.iterdir()
    return built


def run(argv: list[str | Path], directory: Path) -> str:
    """Run a command that must succeed; returns what it printed."""
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, env=environment(), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """This one, without what would lead to the sources of this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


class Environment:
    """A virtual environment that sees the dependencies of the one that runs the tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bin = path / "bin"
        venv.create(path, with_pip=False, symlinks=True)
        (packages,) = path.glob("lib/python*/site-packages")
        (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))

    def python(self, script: str) -> str:
        """Run a script far from any sources; returns what it printed."""
        return run([self.bin / "python", "-c", script], self.path)

    def install(self, what: Path, *options: str, directory: Path | None = None) -> None:
        """``pip install``, from what is already on this machine."""
        pip: list[str | Path] = [self.bin / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        run([*pip, "--no-build-isolation", "--disable-pip-version-check", *options, what], directory or self.path)
