"""Records of sandboxes: written whole or not at all, believed only where nobody else can have written them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import running
from nsjail_py.linux.procfs import boot_id, start_time
from nsjail_py.running import Running

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory for this test alone."""
    monkeypatch.setattr(running, "state_directory", lambda **_: str(tmp_path))
    return tmp_path


def record(name: str = "box", **changes: Any) -> Running:
    """A record of a sandbox whose init and owner is this process."""
    own, began = os.getpid(), start_time(os.getpid())
    fields: dict[str, Any] = {
        "name": name,
        "init": own,
        "init_started": began,
        "payload": own,
        "owner": own,
        "owner_started": began,
        "boot": boot_id(),
        "pids": running.pid_namespace(),
        "created": 1.0,
        "argv": ("true",),
        "facts": {"init": True},
        "spec": "{}",
    }
    return Running(**(fields | changes))


# ---- written and found ----


def test_a_record_is_found_until_it_is_removed(state: Path) -> None:
    running.create(record())
    assert running.load("box") == record()
    assert list(running.records()) == [record()]
    assert running.pid_of("box") == os.getpid()
    running.remove("box")
    running.remove("box")
    assert running.load("box") is None
    assert os.listdir(state) == []


def test_it_is_readable_for_its_owner_alone(state: Path) -> None:
    running.create(record())
    assert (state / "box.json").stat().st_mode & 0o7777 == 0o600


def test_a_name_is_given_once(state: Path) -> None:
    running.create(record())
    with pytest.raises(FileExistsError, match="a sandbox named box is on record"):
        running.create(record(created=2.0))
    assert running.load("box") == record()
    running.replace(record(created=3.0))
    assert running.load("box") == record(created=3.0)


@pytest.mark.parametrize("name", ["", ".box", "-box", "a/b", "../box", "a" * 65, "box\n"])
def test_a_name_cannot_leave_the_directory(state: Path, name: str) -> None:
    assert not running.valid_name(name)
    with pytest.raises(ValueError, match="not a name for a sandbox"):
        running.create(record(name))
    assert running.load(name) is None
    assert os.listdir(state) == []


def test_what_cannot_be_written_leaves_nothing(state: Path) -> None:
    with pytest.raises(TypeError):
        running.create(record(facts={"object": object()}))
    assert os.listdir(state) == []


# ---- whom it names ----


def dead() -> tuple[int, int]:
    """The pid of a process that has ended and was waited for, and a start time."""
    child = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    child.wait()
    return child.pid, 1


def test_a_running_sandbox_is_alive_and_not_abandoned() -> None:
    assert record().alive
    assert not record().abandoned


def test_one_that_is_being_started_is_not_alive_yet() -> None:
    assert not record(init=0, init_started=0).alive
    assert not record(init=0, init_started=0).abandoned


def test_one_whose_init_has_ended_is_the_owners_to_undo() -> None:
    pid, began = dead()
    assert not record(init=pid, init_started=began).alive
    assert not record(init=pid, init_started=began).abandoned


def test_one_whose_owner_has_ended_is_abandoned() -> None:
    pid, began = dead()
    assert record(owner=pid, owner_started=began).abandoned


def test_a_pid_that_was_given_to_another_is_not_believed() -> None:
    later = start_time(os.getpid()) + 1
    assert not record(init_started=later).alive
    assert record(owner_started=later).abandoned


def test_a_process_that_nobody_has_waited_for_has_ended_all_the_same() -> None:
    child = subprocess.Popen([sys.executable, "-IS", "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    began = start_time(child.pid)
    owned = record(owner=child.pid, owner_started=began)
    assert not owned.abandoned
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and still has its pid
    assert owned.abandoned
    child.wait()


def test_after_a_boot_nothing_is_alive_and_all_is_abandoned() -> None:
    assert not record(boot="another").alive
    assert record(boot="another").abandoned


def test_of_another_pid_namespace_nothing_is_said() -> None:
    assert not record(pids=1).alive
    assert not record(pids=1).abandoned


def test_nobody_is_found_by_the_name_of_one_that_has_ended(state: Path) -> None:
    pid, began = dead()
    running.create(record(init=pid, init_started=began))
    with pytest.raises(LookupError, match="no sandbox named box is running"):
        running.pid_of("box")


def test_a_payload_whose_pid_was_given_to_another_is_not_found(state: Path) -> None:
    running.create(record(payload=os.getppid()))
    with pytest.raises(LookupError):
        running.pid_of("box")


# ---- what is planted is not believed ----


def planted(state: Path) -> Path:
    return state / "box.json"


def believable(path: Path) -> None:
    """Write what would be believed, were it not for what the test does to it."""
    running.create(record())
    if path.name != "box.json":
        os.rename(path.parent / "box.json", path)


def unlike(path: Path) -> None:
    """Nothing is found, and a new record takes the place."""
    assert running.load("box") is None
    assert list(running.records()) == []
    with running.claimed("box") as claimed:
        assert claimed is None
    running.create(record())
    assert running.load("box") == record()
    assert path.is_file()
    assert not path.is_symlink()


def test_a_link_is_not_followed(state: Path) -> None:
    believable(state / "elsewhere")
    planted(state).symlink_to(state / "elsewhere")
    before = (state / "elsewhere").read_bytes()
    unlike(planted(state))
    assert (state / "elsewhere").read_bytes() == before


def test_a_link_to_nowhere_is_not_written_through(state: Path) -> None:
    planted(state).symlink_to(state / "nowhere")
    unlike(planted(state))
    assert not (state / "nowhere").exists()


@pytest.mark.root
def test_a_file_of_somebody_else(state: Path) -> None:
    believable(planted(state))
    os.chown(planted(state), NOBODY, NOBODY)
    unlike(planted(state))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o640, 0o644])
def test_a_file_that_others_may_open(state: Path, mode: int) -> None:
    believable(planted(state))
    planted(state).chmod(mode)
    unlike(planted(state))


def test_a_fifo_keeps_nobody_waiting(state: Path) -> None:
    os.mkfifo(planted(state), 0o600)
    unlike(planted(state))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"{", b"[]", b"{}", b'{"name": "box"}', b"\xff" * 100, b"[" * 100_000, b'"' + b"\xed\xa0\x80" + b'"'],
)
def test_garbage(state: Path, data: bytes) -> None:
    planted(state).write_bytes(data)
    planted(state).chmod(0o600)
    unlike(planted(state))


def test_a_huge_file_is_not_read_to_its_end(state: Path) -> None:
    believable(planted(state))
    os.truncate(planted(state), 1 << 40)
    unlike(planted(state))


def test_the_record_of_another_name(state: Path) -> None:
    running.create(record("other"))
    os.rename(state / "other.json", planted(state))
    unlike(planted(state))


# ---- the directory ----


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory of somebody who is not root and owns what this process owns."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(running.os, "geteuid", lambda: os.getuid() or NOBODY)
    if os.getuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def own(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def test_the_directory_is_private(runtime: Path) -> None:
    own_directory = runtime / "nsjail-py"
    own_directory.mkdir(0o700)
    own(own_directory)
    assert running.state_directory() == str(own_directory)


def test_a_directory_that_others_may_enter_is_refused(runtime: Path) -> None:
    (runtime / "nsjail-py").mkdir(0o700)
    own(runtime / "nsjail-py")
    (runtime / "nsjail-py").chmod(0o750)
    with pytest.raises(PermissionError, match=r"not a directory that belongs to uid \d+ alone \(mode 0700\)"):
        running.state_directory()


def test_a_link_in_its_place_is_refused_also_later(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (runtime / "nsjail-py").mkdir(0o700)
    own(runtime / "nsjail-py")
    running.state_directory()
    (runtime / "nsjail-py").rmdir()
    (runtime / "nsjail-py").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    own(runtime / "nsjail-py")
    with pytest.raises(PermissionError):
        running.state_directory()


@pytest.mark.root
def test_a_directory_of_somebody_else_is_refused(runtime: Path) -> None:
    (runtime / "nsjail-py").mkdir(0o700)
    with pytest.raises(PermissionError):
        running.state_directory()


def test_where_there_is_no_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(running.os, "geteuid", lambda: 4_000_000_000)
    monkeypatch.setattr(running.os, "mkdir", lambda path, mode: made.append(f"{path} {mode:o}"))
    monkeypatch.setattr(
        running.os, "lstat", lambda path: os.stat_result((0o040700, 0, 0, 2, 4_000_000_000, 0, 0, 0, 0, 0))
    )
    assert running.state_directory() == "/tmp/nsjail-py-4000000000"
    assert made == ["/tmp/nsjail-py-4000000000 700"]


def test_who_only_looks_makes_no_directory(runtime: Path) -> None:
    assert list(running.records()) == []
    assert running.load("box") is None
    assert running.remove_unfinished() == []
    running.remove("box")
    with running.claimed("box") as claimed:
        assert claimed is None
    assert os.listdir(runtime) == []


# ---- sweeping ----


def test_one_sweeper_at_a_time_has_a_record(state: Path) -> None:
    running.create(record())
    with running.claimed("box") as first, running.claimed("box") as second:
        assert first == record()
        assert second is None
    with running.claimed("box") as third:
        assert third == record()


def test_a_record_that_was_replaced_meanwhile_is_not_claimed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running.create(record())
    flock = running.fcntl.flock

    def replaced(fd: int, how: int) -> None:
        running.replace(record(created=2.0))
        flock(fd, how)

    monkeypatch.setattr(running.fcntl, "flock", replaced)
    with running.claimed("box") as claimed:
        assert claimed is None


def test_what_a_crash_left_of_a_write_is_removed_in_time(state: Path) -> None:
    old, fresh = state / ".box.json.1.aa", state / ".box.json.2.bb"
    old.touch()
    fresh.touch()
    os.utime(old, (1, 1))
    running.create(record())
    os.utime(state / "box.json", (1, 1))
    assert running.remove_unfinished() == [str(old)]
    assert sorted(os.listdir(state)) == [fresh.name, "box.json"]
