"""The verbs that report: ps, doctor, plugins, profiles, schema."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nsjail_py.plugin.manager import BUILTINS
from nsjail_py.spec.profiles import profile_path
from tests.cli.command import COMMAND, PATIENCE, Command, environment
from tests.conftest import OrdinaryUser


@pytest.fixture
def named(command: Command, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a sandbox that runs while the test does."""
    name = f"test-{request.node.name}"[:60]
    process = command.start("run", "--name", name, "--", "sh", "-c", "echo ready; read line # \x1b[31m")
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    yield name
    process.stdin.close()
    process.wait(PATIENCE)


class TestPs:
    def test_a_running_sandbox(self, command: Command, named: str) -> None:
        lines = command("ps").stdout.splitlines()
        assert lines[0].split() == ["NAME", "PID", "AGE", "COMMAND"]
        row = next(line for line in lines if line.startswith(named))
        assert row.endswith("sh -c echo ready; read line # \\x1b[31m")

    def test_json(self, command: Command, named: str) -> None:
        row = next(row for row in json.loads(command("ps", "--json").stdout) if row["name"] == named)
        assert row["argv"][:2] == ["sh", "-c"]
        assert row["pid"] > 1
        assert row["created"] > 0

    def test_one_that_has_ended_is_not_there(self, command: Command) -> None:
        assert command("run", "--name", "short-lived", "--", "true").returncode == 0
        assert "short-lived" not in command("ps").stdout

    def test_a_name_is_given_once(self, command: Command, named: str) -> None:
        assert command.wrong("run", "--name", named, "--", "true") == (
            f"nsjail-py: $.name: there is a sandbox named {named} already\n"
            "hint: choose another name; nsjail-py ps lists those that run, nsjail-py gc removes what a crash left\n"
        )

    def test_its_name_is_a_namespace_to_join(self, command: Command, named: str) -> None:
        # an ordinary user has rights over a namespace only from within the user namespace that it belongs to
        joined = [word for kind in ("user", "uts") for word in ("--ns", f"{kind}=name:{named}")]
        inside = command("run", *joined, "--", "readlink", "/proc/self/ns/uts")
        pid = next(row for row in json.loads(command("ps", "--json").stdout) if row["name"] == named)["pid"]
        theirs = subprocess.run(["readlink", f"/proc/{pid}/ns/uts"], capture_output=True, text=True).stdout
        assert inside.stdout == theirs, inside.stderr


class TestDoctor:
    def test_every_line_has_a_state_and_a_no_has_a_remedy(self, command: Command) -> None:
        done = command("doctor")
        lines = done.stdout.splitlines()
        assert any(line.startswith("yes ") for line in lines)
        states = [line[:4].strip() for line in lines if not line.startswith(" ")]
        assert set(states) <= {"yes", "no", "part"}
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("no "):
                assert following.lstrip().startswith("→ ")
        assert done.returncode == (1 if "no" in states else 0)

    def test_as_an_ordinary_user(self, as_user: OrdinaryUser) -> None:
        done = as_user.run([sys.executable, "-m", "nsjail_py.cli", "doctor"])
        assert done.stderr == ""
        assert "user namespace" in done.stdout


def test_plugins(command: Command) -> None:
    heading, *rows = command("plugins").stdout.splitlines()
    assert heading.split() == ["NAME", "LOADED", "PACKAGE"]
    assert [row.split() for row in rows][: len(BUILTINS)] == [[name, "yes", "nsjail_py"] for name in BUILTINS]


class TestProfiles:
    def test_their_names(self, command: Command) -> None:
        assert command("profiles").stdout == "default\ntrusted\n"

    def test_the_text_of_one(self, command: Command) -> None:
        with open(profile_path("trusted"), encoding="utf-8") as file:
            assert command("profiles", "trusted").stdout == file.read()

    def test_one_that_is_not_there(self, command: Command) -> None:
        said = (
            "nsjail-py: profile: no such profile: 'defalt'\nhint: did you mean default?, or give the path of a file\n"
        )
        assert command.wrong("profiles", "defalt") == said


def test_schema(command: Command) -> None:
    schema = json.loads(command("schema").stdout)
    assert set(schema["properties"]) == set(BUILTINS)
    assert schema["additionalProperties"] is False


class TestExec:
    def test_it_is_in_the_sandbox_of_that_name(self, command: Command, named: str) -> None:
        pid = next(row for row in json.loads(command("ps", "--json").stdout) if row["name"] == named)["pid"]
        for kind in ("uts", "mnt", "pid", "net", "ipc", "user"):
            theirs = subprocess.run(["readlink", f"/proc/{pid}/ns/{kind}"], capture_output=True, text=True).stdout
            assert command("exec", named, "--", "readlink", f"/proc/self/ns/{kind}").stdout == theirs

    def test_its_streams_and_exit_status_are_the_commands(self, command: Command, named: str) -> None:
        done = command("exec", named, "sh", "-c", "cat; echo err >&2; exit 3", stdin="in\n")
        assert (done.stdout, done.stderr, done.returncode) == ("in\n", "err\n", 3)
        assert command("exec", named, "--", "sh", "-c", "kill -TERM $$").returncode == 143

    def test_its_options(self, command: Command, named: str) -> None:
        done = command("exec", "--env", "COLOR=red", "--cwd", "/usr", named, "--", "sh", "-c", "echo $COLOR; pwd")
        assert done.stdout == "red\n/usr\n"
        assert command("exec", "--timeout", "0.3", named, "sleep", "600").returncode == 124

    def test_a_terminal(self, command: Command, named: str) -> None:
        assert command("exec", "-t", named, "--", "sh", "-c", "test -t 0 && echo yes").stdout == "yes\n"
        assert command("exec", named, "--", "sh", "-c", "test -t 0 || echo no").stdout == "no\n"

    def test_the_sandbox_goes_on(self, command: Command, named: str) -> None:
        assert command("exec", named, "true").returncode == 0
        assert named in command("ps").stdout

    def test_a_missing_program(self, command: Command, named: str) -> None:
        said = command.wrong("exec", named, "--", "no-such-program", status=127)
        assert said.startswith("nsjail-py: payload: execute no-such-program: No such file or directory [EXEC, step ")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "the sandbox's name is missing\nhint: usage: nsjail-py exec [OPTIONS] NAME [--] COMMAND…\n"),
            (["x"], "the command is missing\nhint: usage: nsjail-py exec [OPTIONS] NAME [--] COMMAND…\n"),
            (["x", "--"], "the command is missing\nhint: usage: nsjail-py exec [OPTIONS] NAME [--] COMMAND…\n"),
            (
                ["nobody", "--", "true"],
                "no sandbox named nobody is running\nhint: nsjail-py ps lists the running ones\n",
            ),
            (["--hostname", "x"], "unknown option: --hostname\nhint: nsjail-py exec --help lists them\n"),
        ],
    )
    def test_what_is_wrong(self, command: Command, words: list[str], said: str) -> None:
        assert command.wrong("exec", *words) == f"nsjail-py: {said}"


#: Starts a named sandbox, kills the command without warning, then has it swept twice.
CRASH = """
import subprocess, sys
command = [sys.executable, "-m", "nsjail_py.cli"]
running = subprocess.Popen([*command, "run", "--name", "lost", "--", "sh", "-c", "echo ready; exec sleep 600"],
                           stdout=subprocess.PIPE)
assert running.stdout.readline() == b"ready\\n"
running.kill()
running.stdout.read()
running.wait()
for _ in range(2):
    print(subprocess.run([*command, "gc"], check=True, capture_output=True, text=True).stdout.splitlines())
"""


def test_gc_forgets_what_a_crash_left(as_user: OrdinaryUser) -> None:
    first, second = as_user.python(CRASH).splitlines()
    assert first == "['lost: forgotten']"
    assert second == "[]"


def test_output_that_nobody_reads_is_no_error(command: Command) -> None:
    process = subprocess.Popen(
        [*COMMAND, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(command.folder)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(PATIENCE) == 141
