"""The command on a terminal: the program has one of its own and behaves as if it ran bare."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.cli.command import COMMAND, PATIENCE, Command, environment
from tests.cli.session import Session

Start = Callable[..., Session]

ISATTY = "import os; print('isatty', *(os.isatty(fd) for fd in range(3)), os.ttyname(0))"


def test_the_program_has_a_terminal_of_the_sandboxs_own(session: Start) -> None:
    terminal = session("run", "--", "python3", "-c", ISATTY)
    terminal.until(b"isatty True True True /dev/pts/0")
    assert terminal.end() == 0


def test_its_window_is_as_large_as_the_callers_and_follows_it(session: Start) -> None:
    script = "trap 'stty size; exit 7' WINCH; stty size; sleep 600 & wait $!"
    terminal = session("run", "--", "sh", "-c", script, rows=33, columns=99)
    terminal.until(b"33 99")
    terminal.resize(40, 120)
    terminal.until(b"40 120")
    assert terminal.end() == 7


def test_what_is_typed_is_read_and_echoed_by_the_sandboxs_terminal(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo ready; read line; echo got $line")
    terminal.until(b"ready")
    terminal.type(b"hello\r")
    terminal.until(b"hello\r\ngot hello")
    assert terminal.end() == 0


def test_ctrl_d_ends_its_input(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo ready; cat; echo end of file")
    terminal.until(b"ready")
    terminal.type(b"\x04")
    terminal.until(b"end of file")
    assert terminal.end() == 0


def test_ctrl_c_is_a_key(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo ready; exec cat")
    terminal.until(b"ready")
    terminal.type(b"\x03")
    assert terminal.end() == 128 + signal.SIGINT
    assert terminal.is_cooked


def test_ctrl_c_is_the_programs_to_handle(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; sleep 600 & wait $!")
    terminal.until(b"ready")
    terminal.type(b"\x03")
    terminal.until(b"caught")
    assert terminal.end() == 9


def test_ctrl_backslash_quits(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo ready; exec cat")
    terminal.until(b"ready")
    terminal.type(b"\x1c")
    assert terminal.end() == 128 + signal.SIGQUIT


def test_ctrl_z_stops_the_command_and_fg_continues_both(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo ready; exec cat")
    terminal.until(b"ready")
    assert not terminal.is_cooked
    terminal.type(b"\x1a")
    assert terminal.stopped() == signal.SIGSTOP
    assert terminal.is_cooked, "a stopped command leaves the terminal as it was"
    terminal.resume()
    terminal.until(b"^Z")
    terminal.type(b"on again\r")
    terminal.until(b"on again\r\non again")
    terminal.type(b"\x04")
    assert terminal.end() == 0
    assert terminal.is_cooked


def test_ctrl_z_is_the_programs_to_handle(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "trap 'echo caught; exit 9' TSTP; echo ready; sleep 600 & wait $!")
    terminal.until(b"ready")
    terminal.type(b"\x1a")
    terminal.until(b"caught")
    assert terminal.end() == 9


def test_ctrl_z_in_raw_mode_is_a_byte(session: Start) -> None:
    script = "import os, tty; tty.setraw(0); print('ready'); print(os.read(0, 1).hex())"
    terminal = session("run", "--", "python3", "-uc", script)
    terminal.until(b"ready")
    terminal.type(b"\x1a")
    terminal.until(b"1a")
    assert terminal.end() == 0


def test_a_program_that_stops_itself_stops_the_command(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "kill -STOP $$; echo on again")
    assert terminal.stopped() == signal.SIGSTOP
    terminal.resume()
    terminal.until(b"on again")
    assert terminal.end() == 0


def test_the_terminal_is_restored_when_the_set_up_fails(session: Start) -> None:
    terminal = session("run", "--", "no-such-program")
    terminal.until(b"No such file or directory")
    assert terminal.end() == 127
    assert terminal.is_cooked


def test_the_terminal_is_restored_when_time_is_up(session: Start) -> None:
    terminal = session("run", "--timeout", "0.5", "--", "sh", "-c", "echo ready; exec sleep 600")
    terminal.until(b"ready")
    assert terminal.end() == 124
    assert terminal.is_cooked


def test_a_signal_to_the_command_reaches_the_program(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "trap 'echo caught; exit 5' TERM; echo ready; sleep 600 & wait $!")
    terminal.until(b"ready")
    terminal.process.terminate()
    terminal.until(b"caught")
    assert terminal.end() == 5


def test_a_hang_up_reaches_the_program(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo ready; exec sleep 600")
    terminal.until(b"ready")
    os.kill(terminal.process.pid, signal.SIGHUP)
    assert terminal.end() == 128 + signal.SIGHUP


def test_much_output_arrives_whole(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "seq 1 50000; echo the end")
    shown = terminal.until(b"the end")
    assert shown.split() == [str(number).encode() for number in range(1, 50001)]
    assert terminal.end() == 0


def test_what_is_written_last_is_shown(session: Start) -> None:
    terminal = session("run", "--", "sh", "-c", "echo first; printf last")
    terminal.until(b"first")
    assert terminal.end() == 0
    assert terminal.shown.endswith(b"last")


def test_keys_that_nobody_reads_do_not_keep_output_back(session: Start) -> None:
    script = (
        "echo ready; stty -icanon -echo; read -n 1 go 2>/dev/null || head -c 1 >/dev/null; seq 1 20000; echo the end"
    )
    terminal = session("run", "--", "sh", "-c", script)
    terminal.until(b"ready")
    terminal.type(b"x" * 3000)
    terminal.type(b"y" * 3000)
    terminal.until(b"the end")
    assert terminal.end() == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash for job control")
def test_in_the_background_it_leaves_the_terminal_alone(session: Start) -> None:
    """Taking it over would stop the job (SIGTTOU), so the program gets pipes."""
    script = '"$@" & wait $!; echo status $?'
    program = ["bash", "-mc", script, "bash"]
    terminal = session(*COMMAND, "run", "--", "sh", "-c", "tty; exit 4", program=program)
    terminal.until(b"not a tty")
    terminal.until(b"status 4")
    assert terminal.end() == 0
    assert terminal.is_cooked


class TestWithoutATerminal:
    def test_a_terminal_on_request(self, command: Command) -> None:
        done = command("run", "-t", "--", "sh", "-c", "tty; stty size")
        assert done.stdout.splitlines() == ["/dev/pts/0", "24 80"]
        assert done.returncode == 0

    def test_from_a_spec(self, command: Command) -> None:
        (command.folder / "box.toml").write_text("[process]\ntty = true\n")
        assert command("run", "--spec", "box.toml", "--", "tty").stdout == "/dev/pts/0\n"

    def test_its_stdin_is_left_alone_unless_interactive(self, command: Command) -> None:
        read, write = os.pipe()
        os.write(write, b"typed")
        done = subprocess.run(
            [*COMMAND, "run", "-t", "--", "echo", "ready"],
            stdin=read,
            capture_output=True,
            env=environment(command.folder),
            timeout=PATIENCE,
        )
        assert done.stdout == b"ready\r\n"
        assert os.read(read, 100) == b"typed"
        os.close(read)
        os.close(write)

    def test_interactive_feeds_it_and_ends_it(self, command: Command) -> None:
        done = command("run", "-it", "--", "cat", stdin="typed\nno newline at end")
        assert done.stdout.count("typed\n") == 2
        assert done.stdout.count("no newline at end") == 2
        assert done.returncode == 0

    def test_output_that_nobody_reads_ends_the_program(self, command: Command) -> None:
        running = command.start("run", "-t", "--", "yes")
        assert running.stdout is not None
        assert running.stdout.read(2) == "y\n"
        running.stdout.close()
        assert running.wait(PATIENCE) == 128 + signal.SIGPIPE


class TestALoneTerminal:
    """Only one of stdin and stdout is a terminal: the program gets a pipe in its place."""

    @pytest.fixture
    def terminal(self) -> Iterator[tuple[int, int]]:
        """Master and slave of a terminal."""
        master, slave = os.openpty()
        yield master, slave
        os.close(master)
        os.close(slave)

    def test_stdout(self, command: Command, terminal: tuple[int, int]) -> None:
        master, slave = terminal
        script = "import os; print(*(os.isatty(fd) for fd in range(3)), flush=True)"
        done = subprocess.run(
            [*COMMAND, "run", "--", "python3", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=slave,
            env=environment(command.folder),
            timeout=PATIENCE,
        )
        assert done.returncode == 0
        assert os.read(master, 1000) == b"False False False\r\n"

    def test_stdin(self, command: Command, terminal: tuple[int, int]) -> None:
        master, slave = terminal
        os.write(master, b"typed\n\x04")
        done = subprocess.run(
            [*COMMAND, "run", "--", "sh", "-c", "tty; cat"],
            stdin=slave,
            stdout=subprocess.PIPE,
            env=environment(command.folder),
            timeout=PATIENCE,
        )
        assert done.stdout == b"not a tty\ntyped\n"
