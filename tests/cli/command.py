"""Run the real command in a process of its own, as a person at a shell would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "nsjail_py.cli"]

#: Far beyond what anything here takes, even on a loaded machine: a test that gets there has failed.
PATIENCE = 20.0


def environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The command's environment: this checkout, and configuration and records of the test's own.

    :param folder: where those are
    :param extra: more variables
    """
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {
        **os.environ,
        "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_RUNTIME_DIR": str(runtime),
        "COLUMNS": "100",
        **(extra or {}),
    }


class Command:
    """The command with a folder of its own.

    :param folder: its working directory, and where its configuration is
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end.

        :param words: what follows its name
        :param stdin: what it reads
        :param env: added to its environment
        """
        return subprocess.run(
            [*COMMAND, *words],
            input=stdin,
            env=environment(self.folder, env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it, with pipes for all three streams."""
        return subprocess.Popen(
            [*COMMAND, *words],
            env=environment(self.folder),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wrong(self, *words: str, status: int = 125) -> str:
        """Run it where it is to fail before anything is run; returns what it says on stderr."""
        done = self(*words)
        assert (done.returncode, done.stdout) == (status, ""), done
        return done.stderr

    def configure(self, text: str) -> Path:
        """Write its configuration file."""
        file = self.folder / "config" / "nsjail-py" / "config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file
