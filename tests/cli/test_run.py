"""``nsjail-py run`` without a terminal: what the program is given, and what the command makes of its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, PATIENCE, SOURCES, Command, environment
from tests.conftest import OrdinaryUser


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 128 + signal.SIGTERM),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 128 + signal.SIGSEGV),
    ],
)
def test_the_exit_status_is_the_programs(command: Command, script: str, status: int) -> None:
    done = command("run", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_out_of_time(command: Command) -> None:
    done = command("run", "--timeout", "0.2", "--", "sh", "-c", "trap '' TERM INT; while :; do sleep 600; done")
    assert (done.returncode, done.stderr) == (124, "")


def test_a_missing_program(command: Command) -> None:
    said = command.wrong("run", "--", "no-such-program", status=127)
    assert said.startswith("nsjail-py: payload: execute no-such-program: No such file or directory [EXEC, step ")


def test_a_program_that_cannot_be_executed(command: Command) -> None:
    said = command.wrong("run", "--", "/etc/passwd", status=126)
    assert said.startswith("nsjail-py: payload: execute /etc/passwd: Permission denied [EXEC, step ")


def test_streams_are_the_commands_own(command: Command) -> None:
    done = command("run", "--", "sh", "-c", "cat; echo out; echo err >&2", stdin="in\n")
    assert (done.stdout, done.stderr) == ("in\nout\n", "err\n")


def test_options_end_at_the_command(command: Command) -> None:
    assert command("run", "echo", "--hostname", "-t", "--", "x").stdout == "--hostname -t -- x\n"
    assert command("run", "--", "echo", "--help", "x").stdout == "--help x\n"


def test_plugins_options_reach_the_sandbox(command: Command) -> None:
    (command.folder / "data").mkdir()
    (command.folder / "data" / "file").write_text("bound\n")
    done = command(
        "run",
        "--hostname=web",
        "--env",
        "COLOR=red",
        "--bind",
        f"{command.folder / 'data'}:/data",
        "--cwd",
        "/data",
        "--",
        "sh",
        "-c",
        "hostname; echo $COLOR; pwd; cat file",
    )
    assert done.stdout == "web\nred\n/data\nbound\n"


def test_namespaces_by_name(command: Command) -> None:
    kinds = {"uts": "uts", "ipc": "ipc", "net": "net", "cgroup": "cgroup"}
    for name, kind in kinds.items():
        done = command("run", "--ns", f"{name}=off", "--", "readlink", f"/proc/self/ns/{kind}")
        assert done.stdout.strip() == os.readlink(f"/proc/self/ns/{kind}"), done.stderr
        done = command("run", "--", "readlink", f"/proc/self/ns/{kind}")
        assert done.stdout.strip() != os.readlink(f"/proc/self/ns/{kind}")


class TestLayers:
    """An option lies over a file, a file over another, all over the profile."""

    def test_a_spec_in_either_format(self, command: Command) -> None:
        (command.folder / "box.toml").write_text('[uts]\nhostname = "toml"\n')
        (command.folder / "box.json").write_text('{"uts": {"hostname": "json"}}')
        assert command("run", "--spec", "box.toml", "--", "hostname").stdout == "toml\n"
        assert command("run", "--spec", "box.json", "--", "hostname").stdout == "json\n"
        assert command("run", "--spec", "box.toml", "--spec", "box.json", "--", "hostname").stdout == "json\n"

    def test_an_option_lies_over_files_wherever_it_stands(self, command: Command) -> None:
        (command.folder / "box.toml").write_text('[uts]\nhostname = "file"\n')
        assert command("run", "--hostname", "option", "--spec", "box.toml", "--", "hostname").stdout == "option\n"

    def test_an_option_may_say_the_default(self, command: Command) -> None:
        (command.folder / "box.toml").write_text('[uts]\nhostname = "file"\n')
        assert command("run", "--spec", "box.toml", "--hostname", "sandbox", "--", "hostname").stdout == "sandbox\n"

    def test_a_profile(self, command: Command) -> None:
        (command.folder / "mine.toml").write_text('[uts]\nhostname = "profile"\n[process.env]\nA = "1"\n')
        (command.folder / "box.toml").write_text('[process.env]\nB = "2"\n')
        show = ("sh", "-c", "hostname; echo $A$B")
        assert command("run", "--profile", "mine.toml", "--spec", "box.toml", *show).stdout == "profile\n12\n"
        assert command("run", "--profile", "trusted", "--", "hostname").stdout == "sandbox\n"

    def test_the_configuration_file_names_the_profile(self, command: Command) -> None:
        mine = command.folder / "mine.toml"
        mine.write_text('[uts]\nhostname = "profile"\n')
        command.configure(f'profile = "{mine}"\n')
        assert command("run", "hostname").stdout == "profile\n"
        assert command("run", "--profile", "default", "hostname").stdout == "sandbox\n"


class TestResult:
    def result(self, command: Command, *words: str) -> dict[str, object]:
        command("run", "--result", "result.json", *words)
        found: dict[str, object] = json.loads((command.folder / "result.json").read_text())
        return found

    def test_of_a_run(self, command: Command) -> None:
        found = self.result(command, "--", "sh", "-c", "exit 3")
        assert found["status"] == 3
        assert found["returncode"] == 3
        assert found["reason"] == "exited"
        assert found["args"] == ["sh", "-c", "exit 3"]
        assert set(found) == {
            "status",
            "args",
            "returncode",
            "reason",
            "signal",
            "setup_time",
            "run_time",
            "usage",
            "warnings",
        }

    def test_of_a_signal(self, command: Command) -> None:
        found = self.result(command, "--", "sh", "-c", "kill -TERM $$")
        assert (found["status"], found["returncode"], found["signal"]) == (143, -15, 15)
        assert found["reason"] == "signaled"

    def test_of_a_timeout(self, command: Command) -> None:
        found = self.result(command, "--timeout", "0.2", "--", "sleep", "600")
        assert (found["status"], found["reason"]) == (124, "timed out")

    def test_of_a_failure(self, command: Command) -> None:
        found = self.result(command, "--", "no-such-program")
        assert found["status"] == 127
        assert str(found["error"]).startswith("payload: execute no-such-program: No such file or directory")
        assert "hint" in found

    def test_a_file_that_cannot_be_written(self, command: Command) -> None:
        said = command.wrong("run", "--result", "/nonexistent/file", "--", "touch", "ran")
        assert said == "nsjail-py: --result: cannot write /nonexistent/file: No such file or directory\n"


def test_trace_shows_every_step_in_order_with_its_time(command: Command) -> None:
    done = command("run", "--trace", "--hostname", "web", "--", "echo", "out")
    assert done.stdout == "out\n"
    lines = [line.split(maxsplit=3) for line in done.stderr.splitlines()]
    times = [float(line[0]) for line in lines]
    assert times == sorted(times)
    assert all(line[1] == "ms" for line in lines)
    assert ["uts", "host name web"] in [line[2:] for line in lines]
    assert lines[-1][2] == "payload"


class TestSignals:
    """Signals to the command are the program's; there is no terminal."""

    def running(self, command: Command, script: str) -> int:
        """The status of a command that is sent SIGTERM, SIGINT or SIGHUP, as the script says, once it is ready."""
        name, _, body = script.partition(": ")
        process = command.start("run", "--", "sh", "-c", body)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        process.stdout.read()
        return process.wait(PATIENCE)

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
    def test_the_program_is_ended_by_it(self, command: Command, name: str) -> None:
        status = self.running(command, f"{name}: echo ready; exec sleep 600")
        assert status == 128 + getattr(signal, name)

    @pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
    def test_the_program_may_handle_it(self, command: Command, name: str) -> None:
        status = self.running(command, f"SIG{name}: trap 'exit 9' {name}; echo ready; sleep 600 & wait $!")
        assert status == 9

    def test_an_interrupt_reaches_the_whole_group(self, command: Command) -> None:
        status = self.running(command, "SIGINT: trap 'exit 9' INT; sh -c 'echo ready; exec sleep 600'")
        assert status == 9

    def test_a_payload_that_is_pid_1(self, command: Command) -> None:
        process = command.start(
            "run", "--no-init", "--", "sh", "-c", "trap 'exit 9' TERM INT; echo ready; sleep 600 & wait $!"
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 9

    def test_a_stopped_program_stops_the_command(self, command: Command) -> None:
        process = command.start("run", "--", "sh", "-c", "kill -STOP $$; echo on again")
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert process.stdout is not None
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "on again\n"
        assert process.wait(PATIENCE) == 0

    def test_the_stop_key_of_a_terminal_that_others_hold(self, command: Command) -> None:
        process = command.start("run", "--", "sh", "-c", "echo ready; read line; echo got $line")
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        process.stdin.write("typed\n")
        process.stdin.close()
        assert process.stdout.read() == "got typed\n"
        assert process.wait(PATIENCE) == 0

    def test_what_was_ignored_stays_ignored(self, command: Command) -> None:
        previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            process = command.start("run", "--", "sh", "-c", "trap 'exit 9' TERM; echo ready; sleep 600 & wait $!")
        finally:
            signal.signal(signal.SIGHUP, previous)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 9


def test_a_killed_command_takes_the_sandbox_with_it(command: Command) -> None:
    process = command.start("run", "--", "sh", "-c", "echo ready; exec sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    # The payload holds the other end: end of file is its death.
    assert process.stdout.read() == ""
    assert process.wait(PATIENCE) == -signal.SIGKILL


def test_a_socket_as_stdio(command: Command) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [*COMMAND, "run", "--", "echo", "through a socket"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            env=environment(command.folder),
            timeout=PATIENCE,
        )
        assert done.returncode == 0
        assert ours.recv(100) == b"through a socket\n"


def test_as_an_ordinary_user(as_user: OrdinaryUser) -> None:
    done = as_user.run([sys.executable, "-m", "nsjail_py.cli", "run", "--", "sh", "-c", "id -u; exit 3"])
    assert (done.stdout, done.stderr, done.returncode) == (f"{as_user.uid}\n", "", 3)


def test_the_shipped_script(command: Command, tmp_path: Path) -> None:
    """The file that an installation puts on PATH."""
    import subprocess

    script = SOURCES / "nsjail_py" / "cli" / "nsjail-py"
    assert stat.S_IMODE(script.stat().st_mode) & 0o111 == 0o111
    argv = [sys.executable, str(script), "run", "--", "echo", "hello"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(tmp_path), timeout=PATIENCE)
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "", 0)


def test_an_ordinary_user_with_a_terminal(as_user: OrdinaryUser) -> None:
    done = as_user.run([sys.executable, "-m", "nsjail_py.cli", "run", "-t", "--", "sh", "-c", "tty; exit 3"])
    assert (done.stdout, done.stderr, done.returncode) == ("/dev/pts/0\n", "", 3)
