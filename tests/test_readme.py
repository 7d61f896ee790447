"""Every example of README.md and docs/ runs.

A ``python`` block is run as it is. A ``console`` block holds commands after ``$`` and what they print: where it says
``...`` anything may stand, on a line of its own any number of lines. A ``toml`` block is a spec, and is planned.
``text`` blocks are pictures; the ``sh`` blocks of README.md are the two set-up commands, which CI runs in a new clone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nsjail_py.cli.main import VERBS
from tests.readme import SOURCES, Block, blocks

#: Its examples are shown in full by the test that installs the example plugin.
ELSEWHERE = {"docs/plugins.md"}

PAGES = [SOURCES / "README.md", *sorted((SOURCES / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page) if block.file not in ELSEWHERE]


def _of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's: nsjail-py and python3 on PATH are those of this environment, the configuration is empty."""
    programs = tmp_path / "bin"
    programs.mkdir()
    launcher = programs / "nsjail-py"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {SOURCES}/nsjail_py/cli/nsjail-py "$@"\n')
    launcher.chmod(0o755)
    return {
        "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where examples are run: they find a file and a directory of their own."""
    directory = tmp_path / "work"
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "numbers.txt").write_text("1\n2\n3\n")
    return directory


@pytest.mark.parametrize("block", _of("python"), ids=str)
def test_python_examples_run(block: Block, environment: dict[str, str], place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=place, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # an example that says what it prints prints that
    for expected in re.findall(r"print\(.*#\s*(.+)$", block.text, re.MULTILINE):
        assert re.search(_pattern(expected), done.stdout, re.MULTILINE), f"{expected!r} is not in {done.stdout!r}"


def _pattern(text: str) -> str:
    return re.escape(text).replace(re.escape("..."), ".*")


def _matches(expected: list[str], printed: str) -> bool:
    """Whether output is what the lines say, with ``...`` for anything."""
    lines = "".join(
        "(?:.*\n)*?" if line.strip() == "..." else f"{_pattern(line.rstrip())}[ \t]*\n" for line in expected
    )
    return re.fullmatch(lines, printed if printed.endswith("\n") or not printed else f"{printed}\n") is not None


def _commands(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a console block and the lines that each prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> "):
            command, printed = found[-1]
            found[-1] = (f"{command}\n{line[2:]}", printed)
        else:
            found[-1][1].append(line)
    return found


@pytest.mark.parametrize("block", _of("console"), ids=str)
def test_console_examples_print_what_they_say(block: Block, environment: dict[str, str], place: Path) -> None:
    for command, expected in _commands(block):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert _matches(expected, done.stdout), f"$ {command}\n{done.stdout}"


@pytest.mark.parametrize("block", _of("toml"), ids=str)
def test_spec_examples_are_specs(block: Block, environment: dict[str, str], place: Path) -> None:
    (place / "sandbox.toml").write_text(block.text)
    argv = ["nsjail-py", "plan", "--spec", "sandbox.toml", "--", "/bin/true"]
    done = subprocess.run(
        [f"{environment['PATH'].split(':')[0]}/nsjail-py", *argv[1:]],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.language for block in BLOCKS} <= {"python", "console", "toml", "text", "sh"}
    assert {block.file for block in BLOCKS if block.language == "sh"} == {"README.md"}


def test_the_readme_sets_up_with_two_commands() -> None:
    first, second = (block.text.strip() for block in _of("sh"))
    assert "\n" not in first + second
    assert first.endswith("""nsjail-py run -- python3 -c 'print("hello from", __import__("os").uname().nodename)'""")
    assert second.endswith("pytest -n auto")


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_page_of_the_command_has_every_option_and_no_other(environment: dict[str, str], place: Path) -> None:
    page = (SOURCES / "docs" / "cli.md").read_text().replace("\\|", "|")
    launcher = f"{environment['PATH'].split(':')[0]}/nsjail-py"
    listed = set()
    for verb in VERBS:
        assert re.search(rf"`{verb}\b", page), f"{verb} is not in docs/cli.md"
        done = subprocess.run(
            [launcher, verb, "--help"], cwd=place, env=environment, capture_output=True, text=True, check=True
        )
        listed |= set(re.findall(r"^  (?:-\w, )?(--\S+(?: [^ a-z]\S*)?)(?:  .*)?$", done.stdout, re.MULTILINE))
    assert len(listed) > 30
    assert [synopsis for synopsis in sorted(listed) if f"`{synopsis}`" not in page] == []
    flags = {synopsis.split()[0] for synopsis in listed} | {"--help", "--no-such-option"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) <= flags


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a ... c", "d"], "a b c\nd\n", True),
        (["a", "...", "d"], "a\nb\nc\nd\n", True),
        (["a", "...", "d"], "a\nb\nc\n", False),
        (["a"], "a\nb\n", False),
        ([], "", True),
        (["a"], "", False),
    ],
)
def test_output_is_compared(expected: list[str], printed: str, same: bool) -> None:
    assert _matches(expected, printed) is same


def test_the_spec_page_is_what_the_sections_say() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import runpy; print(runpy.run_path('docs/make_spec.py')['page'](), end='')"],
        cwd=SOURCES,
        env={"PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == (SOURCES / "docs" / "spec.md").read_text(), "run python docs/make_spec.py\n" + done.stderr
