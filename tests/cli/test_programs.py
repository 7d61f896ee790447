"""Programs as they are found on the host, and what is said where one cannot find its files."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cli.command import Command


def test_a_script_that_is_not_there_asks_for_a_bind(command: Command) -> None:
    (command.folder / "script.py").write_text("print('ran')\n")
    failed = command("run", "--", sys.executable, "script.py")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == "nsjail-py: script.py is not in the sandbox: add --bind ."
    command.folder.chmod(0o755)
    done = command("run", "--bind", ".", "--", sys.executable, "script.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


def test_a_failure_for_another_reason_is_not_explained(command: Command) -> None:
    failed = command("run", "--", "ls", "/nowhere", "/etc/passwd", "/tmp")
    assert failed.returncode == 2
    assert "nsjail-py" not in failed.stderr


def test_a_root_of_its_own_is_not_explained_by_the_hosts_files(command: Command, busybox_root: Path) -> None:
    (command.folder / "file").touch()
    failed = command("run", "--rootfs", str(busybox_root), "--", "cat", str(command.folder / "file"))
    assert failed.returncode == 1
    assert "nsjail-py" not in failed.stderr


def test_a_shim_without_a_version_says_so(command: Command) -> None:
    shims = command.folder / "pyenv" / "shims"
    shims.mkdir(parents=True)
    (shims / "python9").write_text(f'#!/usr/bin/env bash\nexec "{shims.parent}/libexec/pyenv" exec "$program" "$@"\n')
    (shims / "python9").chmod(0o755)
    failed = command("run", "--", "python9", env={"PATH": f"{shims}:/usr/bin:/bin", "PYENV_VERSION": "9.9"})
    assert failed.returncode == 127
    assert failed.stderr.splitlines() == [
        "nsjail-py: engine: find python9: No such file or directory",
        "hint: pyenv: python9 is in none of the selected versions (9.9)",
    ]
