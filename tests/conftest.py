"""What all tests share: skips with a reason, roots, an ordinary user, and the check that nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks.busybox import busybox_root as make_busybox_root
from benchmarks.ordinary_user import command as as_other_user
from nsjail_py import Sandbox
from tests.leaks import Orphans, Snapshot, adopt_orphans, eventually

SOURCES = Path(__file__).resolve().parent.parent
ORDINARY = 12345


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the tests that are marked slow")


def _reason(item: pytest.Item) -> str | None:
    """Why a test cannot run here, or is not wanted."""
    if item.get_closest_marker("vm") and "CGROUP2_VM" not in os.environ:
        return "needs a machine of its own: tests/vm/run"
    if item.get_closest_marker("root") and not _is_root():
        return "needs root in the initial user namespace"
    if item.get_closest_marker("slow") and item.config.getoption("--quick"):
        return "slow, and --quick was given"
    return None


def _is_root() -> bool:
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if reason := _reason(item):
            item.add_marker(pytest.mark.skip(reason=reason))


# -- nothing is left behind ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _leaks_of_system_tests(request: pytest.FixtureRequest) -> None:
    """Every test in tests/system is checked, whether it says so or not."""
    if SOURCES / "tests" / "system" in request.path.parents:
        request.getfixturevalue("leaks")


@pytest.fixture(scope="session")
def _first_launch() -> None:
    """A process keeps what every launch needs, such as the stage's descriptor; no test shall be blamed for that."""
    Sandbox().run(["true"])


@pytest.fixture
def leaks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """After the test there is no descriptor, process, mount, control group, network link or file that was not before.

    Temporary and runtime files go to directories of this test's own, so that it sees those of nobody else.
    """
    request.getfixturevalue("_first_launch")
    adopt_orphans()
    temporary, runtime = tmp_path_factory.mktemp("tmp"), tmp_path_factory.mktemp("run")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (runtime / "nsjail-py").mkdir(mode=0o700)  # an ordinary user's records; the directory itself stays
    snapshot = Snapshot(temporary, runtime)
    yield
    left = snapshot.left_behind()
    assert not left, "left behind (a test that kills a caller uses the fixture orphans):\n" + "\n".join(sorted(left))


@pytest.fixture
def orphans(request: pytest.FixtureRequest) -> Iterator[Orphans]:
    """For a test that kills a caller: what the caller had started is found here, and must end."""
    request.getfixturevalue("leaks")
    adopted = Orphans()
    yield adopted
    assert eventually(lambda: not adopted.alive()), f"orphans that live on: {adopted.alive()}"


# -- roots --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory with a static busybox and the usual empty directories; not to be written to."""
    if shutil.which("busybox") is None:
        pytest.skip("busybox is not installed (Debian: busybox-static)")
    return make_busybox_root(tmp_path_factory.mktemp("busybox") / "root")


@pytest.fixture(scope="session")
def debian_root() -> Path:
    """A Debian root with python3 and perl: ``$NSJAIL_PY_DEBIAN``, or made by debootstrap and kept in the cache."""
    given = os.environ.get("NSJAIL_PY_DEBIAN")
    if given:
        return Path(given)
    if not _is_root() or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap, or NSJAIL_PY_DEBIAN=DIRECTORY")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nsjail_py-tests"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "debian"
    # one worker makes it, the others wait
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as unfinished:
                made = Path(unfinished) / "debian"
                argv = ["debootstrap", "--variant=minbase", "--include=python3,perl", "stable", str(made)]
                done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
                if done.returncode:
                    pytest.skip(f"debootstrap failed: {done.stdout[-300:]}")
                made.rename(root)
    return root


# -- somebody else ------------------------------------------------------------------------------------------------


class OrdinaryUser:
    """Runs things as uid and gid 12345 without groups, or, where this is not root, as whoever it is.

    :param home: its home directory
    :ivar reach: what it must be able to reach, closed directories above or not
    """

    def __init__(self, home: Path) -> None:
        self.reach = [SOURCES, home]
        self.uid = ORDINARY if os.geteuid() == 0 else os.geteuid()
        self.home = home

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """What to give to ``subprocess.Popen``, with ``env()``."""
        if self.uid == os.geteuid():
            return [str(word) for word in argv]
        return as_other_user(argv, uid=self.uid, reach=self.reach)

    def env(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Its whole environment."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "TMPDIR": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{SOURCES}:{SOURCES / 'plugins'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(extra or {}),
        }

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in its home, capturing its output.

        :param stdin: what it reads from its standard input
        :param env: added to its environment
        """
        return subprocess.run(
            self.command(argv),
            input=stdin,
            env=self.env(env),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def python(self, script: str, *arguments: str | Path, timeout: float = 60) -> str:
        """Run a Python script that may import nsjail_py; returns what it printed, and fails where it fails."""
        done = self.run([sys.executable, "-c", script, *arguments], timeout=timeout)
        assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def as_user(tmp_path: Path) -> OrdinaryUser:
    """An ordinary user, with an empty home."""
    home = tmp_path / "ordinary-home"
    home.mkdir(mode=0o700)
    user = OrdinaryUser(home)
    os.chown(home, user.uid, user.uid if user.uid == ORDINARY else os.getegid())
    return user
