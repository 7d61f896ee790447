"""Python scripts that use the package in a process of their own, for what a test must not do to its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from tests.conftest import SOURCES


def popen(script: str, *arguments: object, **keywords: Any) -> subprocess.Popen[str]:
    """Start one; ``keywords`` as for ``subprocess.Popen``."""
    env = {**os.environ, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], env=env | keywords.pop("env", {}), text=True, **keywords
    )


def output(script: str, *arguments: object, **keywords: Any) -> str:
    """What one prints; it must end well and say nothing on stderr."""
    with popen(script, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, ""), f"status {process.returncode}\n{out}{err}"
    return out
