"""The process and privileges plugins: who the payload is and what it may do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from nsjail_py.errors import Problem, ProgramError, SetupError
from nsjail_py.plan.part import Part
from nsjail_py.plugin import caps, steps
from nsjail_py.plugin.mounting import Root
from nsjail_py.plugin.sections import Mnt, Privileges, Process
from nsjail_py_plugins import privileges, process
from tests.plugins.machines import ROOT, SUBIDS, USER, part, problems, spec

# ---- process ----


def test_ids_and_no_groups() -> None:
    expected = (steps.setsid(), steps.umask(0o22), steps.ids(1000, 1000), steps.groups(()))
    assert part(process, spec()) == Part(steps=expected)
    assert part(process, spec(), purpose="exec") == Part(steps=expected)


def test_groups_and_umask() -> None:
    made = part(process, spec(process=Process(user="5:6", groups=(7, 8), umask="077")))
    assert made == Part(steps=(steps.setsid(), steps.umask(0o77), steps.ids(5, 6), steps.groups((7, 8))))


def test_a_single_id_cannot_touch_groups() -> None:
    assert part(process, spec(), USER) == Part(steps=(steps.setsid(), steps.umask(0o22), steps.ids(1000, 1000)))
    wanted = spec(process=Process(user="1000:1000", groups=(7,)))
    assert problems(process, wanted, USER) == [
        Problem(
            "$.process.groups",
            "an ordinary user with a single id cannot set groups",
            "set user.map to range (needs lines in /etc/subuid and /etc/subgid)",
        )
    ]
    assert problems(process, wanted, SUBIDS) == []
    assert problems(process, wanted, ROOT) == []


@pytest.mark.parametrize("name", ["", "A=B", "A\0B"])
def test_a_variable_that_is_none(name: str) -> None:
    expected = [Problem("$.process.env", f"not a variable name: {name!r}", "a name has no = and is not empty")]
    assert problems(process, spec(process=Process(env={name: "1"}))) == expected


@pytest.mark.parametrize(
    "path", ["/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root/etc", "/proc/thread-self/fd", "/proc/12/cwd/.."]
)
def test_a_directory_of_the_runtime(path: str) -> None:
    expected = [Problem("$.process.cwd", f"{path} is not a place in the sandbox", "name a directory")]
    assert problems(process, spec(process=Process(cwd=path))) == expected


@pytest.mark.parametrize("path", ["/proc/self", "/proc/self/fdinfo", "/work", "/process/self/fd"])
def test_any_other_directory(path: str) -> None:
    assert problems(process, spec(process=Process(cwd=path))) == []


def fill(flag: str, value: Any) -> dict[str, Any]:
    (option,) = [option for option in process.nsjail_options() if option.flag == flag]
    filled: dict[str, Any] = option.fill(value)
    return filled["process"]  # type: ignore[no-any-return]


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSED", "on")
    monkeypatch.delenv("MISSING", raising=False)
    assert fill("--user", "root") == {"user": "root"}
    assert fill("--cwd", "/work") == {"cwd": "/work"}
    assert fill("--umask", "077") == {"umask": "077"}
    assert fill("--timeout", "1.5") == {"timeout": 1.5}
    assert fill("--env", "A=b=c") == {"env": {"A": "b=c"}}
    assert fill("--env", "A=") == {"env": {"A": ""}}
    assert fill("--env", "PASSED") == {"env": {"PASSED": "on"}}
    with pytest.raises(ValueError, match="MISSING is not set in the caller's environment: give MISSING=VALUE"):
        fill("--env", "MISSING")
    with pytest.raises(ValueError, match="not NAME or NAME=VALUE: =x"):
        fill("--env", "=x")
    with pytest.raises(ValueError, match="not a number of seconds: 5s"):
        fill("--timeout", "5s")
    with pytest.raises(ValueError, match="a place in the sandbox is an absolute path, not 'work'"):
        fill("--cwd", "work")


def test_a_file_of_variables(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=1\n B = two words \nC==\n")
    assert fill("--env-file", str(file)) == {"env": {"A": "1", "B": " two words ", "C": "="}}
    file.write_text("A=1\nB\n")
    with pytest.raises(ValueError, match=f"{file}:2: not NAME=VALUE"):
        fill("--env-file", str(file))
    with pytest.raises(ValueError, match=f"{tmp_path}/none: No such file or directory"):
        fill("--env-file", f"{tmp_path}/none")


def hint(error: SetupError, owner: str = "payload", **mnt: Any) -> str | None:
    return process.nsjail_explain(error, owner, spec(mnt=Mnt(**mnt)))


def failed(number: int, path: str) -> ProgramError:
    return ProgramError(f"execute {path}", owner="payload", errno=number, path=path)


def test_why_a_program_is_missing(tmp_path: Path) -> None:
    elsewhere = "it, or the interpreter or loader that it names, is not in the sandbox; a bind shows a file of the host"
    script = tmp_path / "script"
    assert hint(failed(errno.ENOENT, "tool")) == "install it, or give its path inside"
    rooted = hint(failed(errno.ENOENT, "tool"), root=Root(path="/srv"))
    assert rooted == "install it in the root directory, or give its path inside"
    assert hint(failed(errno.ENOENT, str(script))) == elsewhere
    assert hint(failed(errno.ENOTDIR, f"{script}/x")) == elsewhere
    script.write_text("#!/no/such/interpreter\n")
    assert hint(failed(errno.ENOENT, str(script))) == f"it is not executable: chmod +x {script}"
    script.chmod(0o755)
    named = hint(failed(errno.ENOENT, str(script)))
    assert named == "the interpreter that it names in its first line, or its loader, is missing"
    assert hint(failed(errno.ENOENT, str(script)), view="empty") == elsewhere


def test_why_a_program_cannot_be_executed() -> None:
    assert hint(failed(errno.EACCES, "/tool")) == "name a file that the user inside may execute: chmod +x"
    no_format = hint(failed(errno.ENOEXEC, "/tool"))
    assert no_format is not None
    assert no_format.startswith("begin a script with #!")
    assert hint(failed(errno.E2BIG, "/tool")) is None


def test_why_there_is_no_such_directory() -> None:
    error = SetupError("working directory /work", owner="payload", errno=errno.ENOENT, path="/work")
    assert hint(error) == "name a directory that exists inside; a bind shows one of the host's"
    assert hint(error, owner="mnt") is None


# ---- privileges ----


def test_nothing_is_kept_by_default() -> None:
    expected = (steps.bounding_set(0, "none"), steps.capabilities(0, 0, 0, 0, "none"), steps.no_new_privs())
    assert part(privileges, spec()) == Part(steps=expected)
    assert part(privileges, spec(), purpose="exec") == Part(steps=expected)


def test_what_is_named_is_kept_in_all_sets() -> None:
    names = ("CAP_NET_RAW", "CAP_CHOWN")
    mask = caps.mask(names)
    assert mask == 1 << 13 | 1
    wanted = spec(privileges=Privileges(capabilities=names, no_new_privs=False))
    text = "CAP_NET_RAW, CAP_CHOWN"
    assert part(privileges, wanted) == Part(
        steps=(steps.bounding_set(mask, text), steps.capabilities(mask, mask, mask, mask, text)), capabilities=mask
    )


def test_a_capability_that_does_not_exist() -> None:
    wanted = spec(privileges=Privileges(capabilities=("CAP_CHOWN", "CAP_FLY")))
    expected = [Problem("$.privileges.capabilities[1]", "there is no capability CAP_FLY", "see capabilities(7)")]
    assert problems(privileges, wanted) == expected
