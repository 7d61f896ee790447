"""Commands as they are found on the host, in a made-up tree of programs, environments and shims."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nsjail_py.engine.resolve import Resolved, missing_argument_hint, not_shown, resolve
from nsjail_py.spec.mnt import Bind, Tmpfs

Make = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller's home."""
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.delenv("PYENV_VERSION", raising=False)
    monkeypatch.delenv("PYENV_DIR", raising=False)
    return made


def program(path: Path, text: str = "\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def python(prefix: Path) -> Path:
    """A Python installation: its interpreter and the link by which everybody calls it."""
    made = program(prefix / "bin" / "python3.11")
    (prefix / "lib" / "python3.11").mkdir(parents=True)
    (prefix / "bin" / "python3").symlink_to("python3.11")
    return made


def environment(prefix: Path, base: Path) -> Path:
    """A virtual environment of a Python installation."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(base / "bin" / "python3")
    (prefix / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\nversion = 3.11.7\n")
    return prefix / "bin" / "python"


def pyenv(root: Path, *versions: str) -> Path:
    """pyenv with the shim of python3."""
    for version in versions:
        python(root / "versions" / version)
    shim = (
        '#!/usr/bin/env bash\nset -e\nprogram="${0##*/}"\n'
        f'export PYENV_ROOT="{root}"\nexec "{root}/libexec/pyenv" exec "$program" "$@"\n'
    )
    return program(root / "shims" / "python3", shim)


def test_a_program_of_the_host_needs_nothing() -> None:
    assert resolve("sh", "/usr/bin:/bin", "/") == Resolved(("/usr/bin/sh",), ("sh",))
    assert resolve("/bin/sh", "", "/") == Resolved(("/bin/sh",), ("/bin/sh",))


def test_what_is_not_there_is_left_to_the_stage() -> None:
    assert resolve("no-such-program", "/usr/bin:/bin", "/") == Resolved((), ("no-such-program",))


def test_a_directory_and_a_plain_file_are_no_programs(tmp_path: Path) -> None:
    (tmp_path / "first" / "tool").mkdir(parents=True)
    program(tmp_path / "second" / "tool").chmod(0o644)
    tool = program(tmp_path / "third" / "tool")
    path = os.pathsep.join(str(tmp_path / name) for name in ("first", "second", "third"))
    assert resolve("tool", path, "/").candidates == (str(tool),)


def test_a_program_elsewhere_brings_its_prefix(tmp_path: Path, home: Path) -> None:
    tool = program(tmp_path / "opt" / "tool-1.0" / "bin" / "tool")
    found = resolve(str(tool), "", "/")
    assert found == Resolved((str(tool),), (str(tool),), (str(tmp_path / "opt" / "tool-1.0"),))


def test_a_program_in_a_home_brings_itself_alone(home: Path) -> None:
    """``~/.local`` and ``~/.cargo`` hold keyrings and tokens."""
    tool = program(home / ".local" / "bin" / "tool")
    assert resolve(str(tool), "", "/").prefixes == (str(tool),)
    own = program(home / "bin" / "own")
    assert resolve(str(own), "", "/").prefixes == (str(own),)


def test_a_relative_command_is_relative_to_the_working_directory(tmp_path: Path) -> None:
    script = program(tmp_path / "project" / "script", "#!/bin/sh\n")
    found = resolve("./script", "/usr/bin", str(tmp_path / "project"))
    assert found == Resolved((str(script),), (str(script),), (str(script),))


def test_every_link_on_the_way_is_brought(tmp_path: Path, home: Path) -> None:
    real = program(tmp_path / "opt" / "real" / "bin" / "tool")
    between = tmp_path / "opt" / "between" / "bin" / "tool"
    between.parent.mkdir(parents=True)
    between.symlink_to(real)
    link = home / "tool"
    link.symlink_to("../opt/between/bin/tool")
    found = resolve(str(link), "", "/")
    assert found.candidates == (str(link), str(real))
    assert found.prefixes == (str(link), str(tmp_path / "opt" / "between"), str(tmp_path / "opt" / "real"))


def test_a_virtual_environment_brings_the_python_it_was_made_of(tmp_path: Path, home: Path) -> None:
    base = tmp_path / "python"
    python(base)
    inside = environment(home / "project" / ".venv", base)
    found = resolve(str(inside), "", "/")
    # Python looks for pyvenv.cfg beside the name that it was called by
    assert found.candidates[0] == str(inside)
    assert found.words == (str(inside),)
    assert found.prefixes == (str(home / "project" / ".venv"), str(base))


def test_a_script_of_an_environment_brings_both(tmp_path: Path, home: Path) -> None:
    base = tmp_path / "python"
    python(base)
    inside = environment(tmp_path / "venv", base)
    script = program(inside.parent / "tool", f"#!{inside}\n")
    found = resolve("tool", str(inside.parent), "/")
    assert found == Resolved((str(script),), (str(script),), (str(base), str(tmp_path / "venv")))


def test_an_environment_that_is_a_home_is_never_brought_as_a_whole(tmp_path: Path, home: Path) -> None:
    base = tmp_path / "python"
    python(base)
    inside = environment(home, base)
    assert str(home) not in resolve(str(inside), "", "/").prefixes


def test_an_interpreter_that_env_finds_is_called_by_its_path(tmp_path: Path, home: Path) -> None:
    """The PATH inside is another one, and would find another Python or none."""
    base = tmp_path / "python"
    python(base)
    script = program(home / "script", "#!/usr/bin/env -S python3 -u\n")
    found = resolve(str(script), str(base / "bin"), "/")
    interpreter = str(base / "bin" / "python3")
    assert found.words == (interpreter, "-u", str(script))
    assert found.candidates == (interpreter, f"{interpreter}.11")
    assert found.prefixes == (str(script), str(base))


def test_an_interpreter_that_is_the_hosts_is_left_to_env(home: Path) -> None:
    script = program(home / "script", "#!/usr/bin/env sh\n")
    found = resolve(str(script), "/usr/bin:/bin", "/")
    assert found.words == (str(script),)
    assert found.prefixes == (str(script),)


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        ({}, "3.11.7"),
        ({"version": "3.12.1\n"}, "3.12.1"),
        ({"version": "3.12\n"}, "3.12.10"),
        ({"version": "# comment\n3.10.0 3.12.1\n"}, "3.12.1"),
        ({"version": "3.11.7\n", "local": "3.12.1\n"}, "3.12.1"),
        ({"version": "3.11.7\n", "local": "3.11.7\n", "PYENV_VERSION": "3.12.1"}, "3.12.1"),
        ({"PYENV_VERSION": "3.10.0:python-3.12.1"}, "3.12.1"),
    ],
)
def test_a_shim_of_pyenv_is_read_instead_of_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, selected: dict[str, str], expected: str
) -> None:
    root = home / ".pyenv"
    shim = pyenv(root, "3.11.7", "3.12.1", "3.12.10", "3.12.9")
    (root / "version").write_text(selected.get("version", "3.11.7\n"))
    project = home / "project" / "deep"
    project.mkdir(parents=True)
    if "local" in selected:
        (home / "project" / ".python-version").write_text(selected["local"])
    if "PYENV_VERSION" in selected:
        monkeypatch.setenv("PYENV_VERSION", selected["PYENV_VERSION"])
    found = resolve("python3", f"{shim.parent}:/usr/bin", str(project))
    prefix = root / "versions" / expected
    assert found.candidates == (str(prefix / "bin" / "python3"), str(prefix / "bin" / "python3.11"))
    assert found.words == (str(prefix / "bin" / "python3"),)
    assert found.prefixes == (str(prefix),)


def test_the_system_version_is_what_the_rest_of_the_path_has(home: Path, tmp_path: Path) -> None:
    shim = pyenv(home / ".pyenv", "3.11.7")
    (home / ".pyenv" / "version").write_text("system\n")
    elsewhere = tmp_path / "python"
    python(elsewhere)
    found = resolve("python3", f"{shim.parent}:{elsewhere / 'bin'}", "/")
    assert found.candidates[0] == str(elsewhere / "bin" / "python3")


def test_a_version_without_the_program_is_said(home: Path) -> None:
    shim = pyenv(home / ".pyenv", "3.11.7")
    (home / ".pyenv" / "version").write_text("3.10.0\n")
    found = resolve("python3", str(shim.parent), "/")
    assert found.note == "pyenv: python3 is in none of the selected versions (3.10.0)"


def test_a_script_named_like_a_shim_is_a_script(home: Path) -> None:
    script = program(home / "shims" / "python3", "#!/bin/sh\nexec something else\n")
    assert resolve(str(script), "", "/").candidates == (str(script),)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert resolve(str(tmp_path / "a"), "", "/").candidates == ()


def test_scripts_in_a_circle_end(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    program(first, f"#!{second}\n")
    program(second, f"#!{first}\n")
    assert resolve(str(first), "", "/").prefixes == (str(first), str(second))


@pytest.mark.parametrize("line", ["#!/no/such/interpreter", "#!/no/such/interpreter -x"])
def test_a_missing_interpreter_is_left_to_the_stage(tmp_path: Path, line: str) -> None:
    script = program(tmp_path / "script", f"{line}\n")
    assert resolve(str(script), "", "/") == Resolved((str(script),), (str(script),), (str(script),))


def test_what_the_spec_shows_itself_stays_as_it_is() -> None:
    prefixes = ("/opt/tool", "/srv/project/.venv", "/srv/projects/x", "/srv/script")
    mounts = (
        Bind(source="/srv/project", target="/srv/project", writable=True),
        Bind(source="/elsewhere", target="/opt"),
        Tmpfs(target="/srv/script"),
    )
    assert not_shown(prefixes, mounts) == ("/opt/tool", "/srv/projects/x")
    assert not_shown(prefixes, ()) == prefixes


# -- a file that is not there ---------------------------------------------------------------------------------------


def test_an_argument_below_the_working_directory_asks_for_it(tmp_path: Path, home: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "script.py").touch()
    hint = missing_argument_hint(["python3", "-u", "script.py"], [], str(tmp_path / "work"))
    assert hint == "script.py is not in the sandbox: add --bind ."


def test_an_argument_elsewhere_asks_for_itself(tmp_path: Path, home: Path) -> None:
    (tmp_path / "data").touch()
    hint = missing_argument_hint(["tool", f"--input={tmp_path / 'data'}"], [], "/")
    assert hint == f"{tmp_path / 'data'} is not in the sandbox: add --bind {tmp_path / 'data'}"


def test_a_home_is_never_suggested_as_a_whole(home: Path) -> None:
    (home / "notes").touch()
    assert missing_argument_hint(["cat", "notes"], [], str(home)) == (
        f"notes is not in the sandbox: add --bind {home / 'notes'}"
    )


def test_what_is_shown_or_is_no_file_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    ours = ["/usr/bin/env", "/dev/null", "/proc/self", "/etc/passwd", "/etc/ssl/certs", "/tmp", "/"]
    argv = ["tool", "--flag", "word", *ours, str(tmp_path / "data")]
    assert missing_argument_hint(argv, [str(tmp_path)], "/") is None
