"""What the command makes of what goes wrong within itself or around it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from tests.cli.command import COMMAND, PATIENCE, Command, environment

#: Runs the command with one verb's work replaced.
REPLACED = """
import sys
import nsjail_py.cli.profiles
from nsjail_py.cli.main import main
def work(argv, plugins):
    print("started")
    raise {what}
nsjail_py.cli.profiles.main = work
sys.exit(main(["profiles"]))
"""


def replaced(command: Command, what: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", REPLACED.format(what=what)]
    return subprocess.run(argv, capture_output=True, text=True, env=environment(command.folder), timeout=PATIENCE)


def test_an_interrupt_ends_it_by_the_signal_itself(command: Command) -> None:
    done = replaced(command, "KeyboardInterrupt")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "started\n", "")


def test_a_bug_does_not_look_like_the_programs_status(command: Command) -> None:
    done = replaced(command, "ZeroDivisionError('by \\x1b')")
    assert (done.returncode, done.stdout) == (125, "started\n")
    assert done.stderr.startswith("Traceback ")
    assert done.stderr.endswith(
        "nsjail-py: internal error: ZeroDivisionError: by \\x1b\nhint: this is a bug: report it with the lines above\n"
    )


def closed(command: Command, *words: str) -> int:
    """The status of the command without stdin, stdout and stderr."""
    argv = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, *words]
    return subprocess.run(argv, env=environment(command.folder), cwd=command.folder, timeout=PATIENCE).returncode


def test_without_any_stdio(command: Command) -> None:
    assert closed(command, "run", "--result", "result.json", "--", "sh", "-c", "cat; exit 3") == 3
    assert json.loads((command.folder / "result.json").read_text())["returncode"] == 3
    assert closed(command, "run", "--", "no-such-program") == 127
    assert closed(command, "run", "--no-such-option") == 125
    assert closed(command, "ps") == 0
    assert closed(command, "--help") == 0


#: Modules whose import costs more than a launch.
HEAVY = (
    "argparse",
    "asyncio",
    "difflib",
    "hashlib",
    "importlib.metadata",
    "json",
    "logging",
    "psutil",
    "pyroute2",
    "rich",
    "shutil",
    "subprocess",
    "tomllib",
)


def test_the_default_path_loads_nothing_heavy(command: Command) -> None:
    script = "import sys; from nsjail_py.cli.main import main;main(['run', '--', 'true']); print(*sorted(sys.modules))"
    argv = [sys.executable, "-Sc", script]
    paths = ":".join(path for path in sys.path if path)
    env = environment(command.folder, {"PYTHONPATH": paths})
    loaded = subprocess.run(argv, capture_output=True, text=True, env=env, check=True, timeout=PATIENCE).stdout.split()
    assert "nsjail_py.sandbox" in loaded
    assert [name for name in HEAVY if name in loaded] == []
