"""Sandboxes on record: from before the first action until everything is undone, and what a sweep does later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from nsjail_py import Sandbox, SandboxSpec, SetupError, SpecError, running
from nsjail_py.engine.sweep import sweep
from nsjail_py.plugin import Evidence, Launch, LiveProcess, Part, Phase, Section, Slot, hookimpl
from tests.conftest import SOURCES
from tests.leaks import Orphans, eventually


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory for this test alone."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(running, "state_directory", lambda **_: str(folder))
    return folder


class Marker(Section, frozen=True, kw_only=True):
    """The section of the plugin below."""

    folder: str = ""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a file named after the sandbox, and removes it.

    :param run_first: called with the launch, before the file is made
    :param broken: removing it fails
    """

    folder: str
    run_first: Callable[[Launch], None]
    broken: bool
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = ()
    text: str = "leave a mark"

    def run(self, launch: Launch) -> None:
        self.run_first(launch)
        path = Path(self.folder, str(launch.name))
        path.touch()
        launch.on_end(lambda: self.take_back(path))

    def take_back(self, path: Path) -> None:
        if self.broken:
            raise PermissionError(1, "cannot be removed", str(path))
        path.unlink()


def marker(
    folder: Path, run_first: Callable[[Launch], None] = lambda launch: None, *, broken: bool = False, **hooks: Any
) -> SimpleNamespace:
    """A plugin that leaves a mark on the host."""

    def plan() -> Part:
        return Part(
            actions=(Mark(folder=str(folder), run_first=run_first, broken=broken),),
            facts={"sweep": True, "folder": str(folder)},
        )

    made = {"nsjail_section": lambda: ("marker", Marker), "nsjail_plan": plan, **hooks}
    return SimpleNamespace(**{name: hookimpl(hook) for name, hook in made.items()})


# ---- on record ----


def test_who_leaves_something_is_on_record_before_it_does(state: Path, busybox_root: Path) -> None:
    seen: list[running.Running | None] = []
    box = Sandbox(
        plugins=[marker(state, lambda launch: seen.append(running.load(str(launch.name))))], rootfs=busybox_root
    )
    with box.start(["/bin/sleep", "1000"]) as process:
        name = process.name
        assert name is not None
        assert name.startswith("unnamed-")
        (before,) = seen
        assert before is not None
        assert (before.init, before.payload, before.alive, before.abandoned) == (0, 0, False, False)
        assert before.facts["folder"] == str(state)
        assert before.plugins == ("marker",)
        now = running.load(name)
        assert now is not None
        assert (now.init, now.payload, now.alive) == (process.init_pid, process.pid, True)
        assert sorted(os.listdir(state)) == [name, f"{name}.json"]
    assert os.listdir(state) == []


def test_who_leaves_nothing_and_has_no_name_is_not(state: Path, busybox_root: Path) -> None:
    with Sandbox(rootfs=busybox_root).start(["/bin/sleep", "1000"]) as process:
        assert process.name is None
        assert os.listdir(state) == []


def test_every_run_has_a_name_of_its_own(state: Path, busybox_root: Path) -> None:
    names: list[str | None] = []
    box = Sandbox(plugins=[marker(state, lambda launch: names.append(launch.name))], rootfs=busybox_root)
    for _ in range(3):
        box.run(["/bin/true"])
    assert len(set(names)) == 3


def test_a_name_is_taken_before_anything_starts(state: Path, busybox_root: Path) -> None:
    starts: list[str | None] = []
    box = Sandbox(plugins=[marker(state, lambda launch: starts.append(launch.name))], rootfs=busybox_root)
    with box.start(["/bin/sleep", "1000"], name="web"), pytest.raises(SpecError) as caught:
        box.run(["/bin/true"], name="web")
    assert starts == ["web"]
    assert str(caught.value) == (
        "$.name: there is a sandbox named web already\n"
        "hint: choose another name; nsjail-py ps lists those that run, nsjail-py gc removes what a crash left"
    )
    assert box.run(["/bin/true"], name="web").ok


def test_a_name_that_is_none(state: Path, busybox_root: Path) -> None:
    with pytest.raises(SpecError) as caught:
        Sandbox(rootfs=busybox_root).run(["/bin/true"], name="../web")
    assert str(caught.value).splitlines()[0] == "$.name: not a name for a sandbox: '../web'"
    assert os.listdir(state) == []


def test_a_failed_start_leaves_no_record(state: Path, busybox_root: Path) -> None:
    def fail(launch: Launch) -> None:
        raise FileNotFoundError(2, "nothing there", "/nowhere")

    for box, argv in (
        (Sandbox(plugins=[marker(state, fail)], rootfs=busybox_root), "/bin/true"),
        (Sandbox(plugins=[marker(state)], rootfs=busybox_root), "/bin/nothing"),
    ):
        with pytest.raises(SetupError):
            box.run([argv], name="web")
        assert os.listdir(state) == []


def test_what_could_not_be_undone_stays_on_record(state: Path, busybox_root: Path) -> None:
    with pytest.raises(PermissionError, match="cannot be removed"):
        Sandbox(plugins=[marker(state, broken=True)], rootfs=busybox_root).run(["/bin/true"], name="web")
    assert sorted(os.listdir(state)) == ["web", "web.json"]


def test_a_record_that_cannot_be_written(state: Path, busybox_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*, make: bool = True) -> str:
        raise PermissionError(1, "not a directory that belongs to uid 5 alone (mode 0700)", "/run/x")

    monkeypatch.setattr(running, "state_directory", refused)
    with pytest.raises(SetupError) as caught:
        Sandbox(rootfs=busybox_root).run(["/bin/true"], name="web")
    assert str(caught.value) == (
        "engine: put the sandbox web on record: not a directory that belongs to uid 5 alone (mode 0700) [HOST]"
    )


# ---- what plugins say at the end ----


def test_a_plugins_reason_explains_an_end_that_is_otherwise_bare(state: Path, busybox_root: Path) -> None:
    def verdict(process: LiveProcess, evidence: Evidence) -> str:
        assert process.name in os.listdir(state)  # nothing is undone yet
        return f"spent after {evidence.usage['spent']}"

    hooks = {"nsjail_usage": lambda: {"spent": 7}, "nsjail_verdict": verdict}
    box = Sandbox(plugins=[marker(state, **hooks)], rootfs=busybox_root)
    result = box.run(["/bin/true"])
    assert (result.reason, result.usage["spent"], result.ok) == ("spent after 7", 7, False)
    assert box.run(["/bin/sleep", "1000"], timeout=0.01).reason == "timed out"
    with box.start(["/bin/sleep", "1000"]) as process:
        process.kill()
        assert process.wait().reason == "killed"


def test_a_plugin_that_fails_at_the_end_is_a_warning(state: Path, busybox_root: Path) -> None:
    def usage() -> Mapping[str, Any]:
        raise FileNotFoundError(2, "no measurement", "/nowhere")

    hooks = {"nsjail_usage": usage, "nsjail_verdict": lambda: 1 / 0}
    result = Sandbox(plugins=[marker(state, **hooks)], rootfs=busybox_root).run(["/bin/true"])
    assert result.ok
    assert result.warnings[-2:] == (
        "[Errno 2] no measurement: '/nowhere'",
        "plugin marker: nsjail_verdict: ZeroDivisionError: division by zero",
    )
    assert os.listdir(state) == []


# ---- changed while it runs ----


def test_changes_are_checked_before_any_is_applied(state: Path, busybox_root: Path) -> None:
    applied: list[Mapping[str, Any]] = []
    plugin = marker(state, nsjail_update=lambda changes: applied.append(changes))
    with Sandbox(plugins=[plugin], rootfs=busybox_root).start(["/bin/sleep", "1000"]) as process:
        process.update(marker={"folder": "/elsewhere"})
        assert applied == [{"folder": "/elsewhere"}]
        with pytest.raises(SpecError, match=r"\$\.marker"):
            process.update(marker={"folder": 7})
        with pytest.raises(SpecError, match=r"\$\.pid\.init"):
            process.update(marker={"folder": "/"}, pid={"mode": "off", "init": False})
        assert len(applied) == 1


# ---- swept ----

OWNER = """
import sys, time
from nsjail_py import Sandbox, SandboxSpec, running
from nsjail_py.plugin.sections import Pid

running.state_directory = lambda **_: sys.argv[1]
spec = SandboxSpec(pid=Pid(die_with_owner=sys.argv[3] == "dies"))
process = Sandbox(spec, rootfs=sys.argv[2]).start(["/bin/sleep", "1000"], name="web")
print(process.init_pid, flush=True)
time.sleep(1000)
"""


def owner(state: Path, root: Path, fate: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", OWNER, str(state), str(root), fate]
    env = {**os.environ, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"}
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_owner_left_is_forgotten(state: Path, busybox_root: Path, orphans: Orphans) -> None:
    with owner(state, busybox_root, "dies") as process:
        orphans.mine(process.pid)
        assert process.stdout is not None
        process.stdout.readline()
        assert sweep() == []  # it lives
        process.kill()
    assert eventually(lambda: not orphans.alive())
    assert sweep() == ["web: forgotten"]
    assert os.listdir(state) == []


def test_a_sandbox_that_may_outlive_its_owner_is_left_alone(state: Path, busybox_root: Path, orphans: Orphans) -> None:
    with owner(state, busybox_root, "lives on") as process:
        orphans.mine(process.pid)
        assert process.stdout is not None
        init = int(process.stdout.readline())
        process.kill()
    assert sweep() == []
    record = running.load("web")
    assert record is not None
    assert record.alive
    os.kill(init, signal.SIGKILL)
    assert eventually(lambda: not orphans.alive())
    assert sweep() == ["web: forgotten"]


def test_one_whose_init_was_stopped_when_its_owner_died_is_ended(
    state: Path, busybox_root: Path, orphans: Orphans
) -> None:
    with owner(state, busybox_root, "dies") as process:
        orphans.mine(process.pid)
        assert process.stdout is not None
        init = int(process.stdout.readline())
        os.kill(init, signal.SIGSTOP)  # from outside: init itself cannot refuse
        process.kill()
    assert orphans.alive()
    assert sweep() == ["web: forgotten"]
    assert eventually(lambda: not orphans.alive())


KILLED_IN = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from nsjail_py import Sandbox, running
from nsjail_py.plugin import Part, Phase, Section, hookimpl

folder, root, phase = sys.argv[1:]
running.state_directory = lambda **_: folder

class Marker(Section, frozen=True, kw_only=True):
    pass

def act(launch):
    Path(folder, launch.name).touch()
    os.kill(os.getpid(), 9)

action = SimpleNamespace(phase=Phase[phase], rank=50, text="leave a mark", fills=(), run=act)
plugin = SimpleNamespace(
    nsjail_section=hookimpl(lambda: ("marker", Marker)),
    nsjail_plan=hookimpl(lambda: Part(actions=(action,), facts={"sweep": True})),
)
Sandbox(plugins=[plugin], rootfs=root).run(["/bin/sleep", "1000"], name="web")
"""


@pytest.mark.parametrize("phase", ["HOST", "CREATED"])
def test_an_owner_that_is_killed_while_it_starts_a_sandbox(
    state: Path, busybox_root: Path, phase: str, orphans: Orphans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undo(record: Mapping[str, Any]) -> Iterable[str]:
        (state / record["name"]).unlink()
        yield "unmarked"

    from nsjail_py.engine import sweep as module
    from nsjail_py.plugin.manager import Plugins

    env = {**os.environ, "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}"}
    argv = [sys.executable, "-c", KILLED_IN, str(state), str(busybox_root), phase]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert eventually(lambda: not orphans.alive())
    assert sorted(os.listdir(state)) == ["web", "web.json"]
    monkeypatch.setattr(module, "Plugins", lambda names: Plugins([marker(state, nsjail_sweep=undo)]))
    assert sweep() == ["web: unmarked", "web: forgotten"]
    assert os.listdir(state) == []


def abandoned(name: str, **changes: Any) -> running.Running:
    """A record from before the last boot."""
    fields: dict[str, Any] = {"init": 1, "init_started": 1, "payload": 1, "owner": 1, "owner_started": 1}
    fields |= {"boot": "before", "created": 1.0, "argv": ("true",), "facts": {}, "spec": "{}"}
    return running.Running(name=name, **(fields | changes))


def test_what_no_plugin_can_undo_stays_on_record(state: Path) -> None:
    running.create(abandoned("web", facts={"sweep": True}, plugins=("missing",)))
    running.create(abandoned("zzz"))
    assert sweep() == ["web: kept on record: no plugin missing is installed", "zzz: forgotten"]
    assert [record.name for record in running.records()] == ["web"]


def test_a_failing_plugin_is_asked_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [PermissionError(1, "busy"), None]

    def undo(record: Mapping[str, Any]) -> Iterable[str]:
        if (error := failures.pop(0)) is not None:
            raise error
        yield f"undid {record['facts']['what']}"

    from nsjail_py.engine import sweep as module
    from nsjail_py.plugin.manager import Plugins

    monkeypatch.setattr(module, "Plugins", lambda names: Plugins([marker(state, nsjail_sweep=undo)]))
    running.create(abandoned("web", facts={"sweep": True, "what": "it"}, plugins=("marker",)))
    assert sweep() == ["web: marker: kept on record: [Errno 1] busy"]
    assert sweep() == ["web: undid it", "web: forgotten"]
    assert sweep() == []


def test_a_name_that_a_crash_left_taken_is_swept_and_given(state: Path, busybox_root: Path) -> None:
    running.create(abandoned("web"))
    assert Sandbox(SandboxSpec(), rootfs=busybox_root).run(["/bin/true"], name="web").ok
    assert os.listdir(state) == []
    running.create(abandoned("web", facts={"sweep": True}, plugins=("missing",)))
    with pytest.raises(SpecError, match="there is a sandbox named web already"):
        Sandbox(rootfs=busybox_root).run(["/bin/true"], name="web")
