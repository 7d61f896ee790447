"""``nsjail-py plan``: the timeline, without doing any of it."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

from nsjail_py.plan.phases import Phase
from tests.cli.command import Command
from tests.conftest import OrdinaryUser

HEADING = re.compile(r"([A-Z]+) \((caller|stage|payload)\)")
STEP = re.compile(r" *(\d*)  (\w+) +(.+)")


def test_phases_come_in_order_and_steps_are_numbered(command: Command) -> None:
    done = command("plan", "--hostname", "web", "--", "echo", "hi")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    headings = [match for line in lines if (match := HEADING.fullmatch(line))]
    phases = [Phase[match[1]] for match in headings]
    assert phases == sorted(set(phases))
    who = {match[1]: match[2] for match in headings}
    assert (who["HOST"], who["MOUNT"], who["EXEC"]) == ("caller", "stage", "payload")
    steps = [match for line in lines if not HEADING.fullmatch(line) and (match := STEP.fullmatch(line))]
    numbers = [int(match[1]) for match in steps if match[1]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert ("uts", "host name web") in [(match[2], match[3]) for match in steps]
    assert steps[-1][3].startswith("execute ")


def test_the_clone_is_between_the_callers_and_the_childs_part(command: Command) -> None:
    lines = command("plan", "--ns", "ipc=off", "true").stdout.splitlines()
    clone = next(index for index, line in enumerate(lines) if line.startswith("clone: "))
    assert lines[clone].startswith("clone: new namespaces user, ")
    assert "ipc" not in lines[clone]
    assert lines.index("HOST (caller)") < clone < lines.index("ROOT (stage)")


def test_json(command: Command) -> None:
    text = command("plan", "--hostname", "web", "true").stdout
    found: dict[str, Any] = json.loads(command("plan", "--hostname", "web", "--json", "true").stdout)
    assert set(found) == {"clone", "timeline", "warnings"}
    assert {"user", "pid", "mnt", "uts", "ipc", "net"} <= set(found["clone"])
    for line in found["timeline"]:
        assert set(line) == {"phase", "by", "step", "owner", "text", "path", "optional"}
        assert line["text"] in text
    numbers = [line["step"] for line in found["timeline"] if line["step"] is not None]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_terminal_is_part_of_the_plan(command: Command) -> None:
    with_terminal = command("plan", "-t", "true").stdout
    assert "controlling terminal" in with_terminal
    assert "controlling terminal" not in command("plan", "true").stdout


def test_nothing_is_done(command: Command) -> None:
    before = os.listdir(command.folder)
    assert command("plan", "--", "touch", "ran").returncode == 0
    assert set(os.listdir(command.folder)) - set(before) <= {"runtime"}


def test_a_wrong_spec_is_an_error(command: Command) -> None:
    said = command.wrong("plan", "--bind", "/nonexistent/source", "true")
    assert said.startswith("nsjail-py: $.mnt.mounts[0].source: ")


def test_control_characters_in_a_path_are_escaped(command: Command) -> None:
    odd = command.folder / "a\x1b[31mb"
    odd.mkdir()
    shown = command("plan", "--bind", f"{odd}:/data", "true").stdout
    assert "\x1b" not in shown
    assert "a\\x1b[31mb" in shown


def test_an_ordinary_user_may_plan(as_user: OrdinaryUser) -> None:
    done = as_user.run([sys.executable, "-m", "nsjail_py.cli", "plan", "--", "true"])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"become {as_user.uid}:{as_user.uid}" in done.stdout
