"""A plugin by someone else, installed beside the package, from a spec, the API and the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.ordinary_user import command as as_other_user
from tests.conftest import OrdinaryUser
from tests.leaks import Orphans, eventually
from tests.packaging.building import Environment, build, copy_sources, environment

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parent / "sysctl"
TTL = "/proc/sys/net/ipv4/ip_default_ttl"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the package and the plugin, installed as two packages."""
    made = Environment(tmp_path_factory.mktemp("fresh") / "environment")
    clone = copy_sources(tmp_path_factory.mktemp("sources") / "clone")
    made.install(build(clone, "wheel", tmp_path_factory.mktemp("wheel")))
    made.install(Path(shutil.copytree(PLUGIN, tmp_path_factory.mktemp("plugin") / "sysctl")))
    return made


def nsjail_py(fresh: Environment, *words: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    env = environment() | {"XDG_CONFIG_HOME": str(home or fresh.path / "nobody")}
    argv = [fresh.bin / "nsjail-py", *words]
    return subprocess.run(argv, cwd=fresh.path, env=env, capture_output=True, text=True, timeout=60)


# ---- who asks for it gets it, nobody else does ----


def test_nobody_who_does_not_ask_for_it_loads_it(fresh: Environment) -> None:
    script = "import sys; from nsjail_py import run; run(['true']); print('nsjail_py_sysctl' in sys.modules)"
    assert fresh.python(script) == "False\n"
    refused = nsjail_py(fresh, "run", "--sysctl", "net.ipv4.ip_default_ttl=42", "--", "true")
    assert refused.returncode == 125
    assert "--sysctl" in refused.stderr
    assert "settings of its own" not in nsjail_py(fresh, "doctor").stdout


def test_it_is_listed_without_being_loaded(fresh: Environment) -> None:
    rows = [line.split() for line in nsjail_py(fresh, "plugins").stdout.splitlines()]
    assert ["sysctl", "no", "nsjail-py-sysctl"] in rows
    rows = [line.split() for line in nsjail_py(fresh, "--plugin", "sysctl", "plugins").stdout.splitlines()]
    assert ["sysctl", "yes", "nsjail-py-sysctl"] in rows


# ---- from a spec ----


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec that uses the plugin's section."""
    file = tmp_path / "spec.toml"
    file.write_text('[sysctl]\ntimer_slack = 777\n\n[sysctl.values]\n"net.ipv4.ip_default_ttl" = "42"\n')
    return file


def test_a_spec_file_loads_it(fresh: Environment, spec: Path) -> None:
    done = nsjail_py(fresh, "run", "--spec", spec, "--", "cat", TTL, "/proc/self/timerslack_ns")
    assert (done.returncode, done.stdout) == (0, "42\n777\n"), done.stderr


def test_a_profile_loads_it(fresh: Environment, spec: Path) -> None:
    script = (
        "from nsjail_py import run\n"
        f"print(run(['cat', {TTL!r}], profile={str(spec)!r}, capture_output=True, text=True).stdout, end='')"
    )
    assert fresh.python(script) == "42\n"


def test_its_problems_are_found_with_all_others(fresh: Environment, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[net]\nmode = "host"\n[sysctl.values]\n"net.core.somaxconn" = "1"\n"kernel.pid_max" = "1"\n')
    done = nsjail_py(fresh, "plan", "--spec", file, "--", "true")
    assert done.returncode == 125
    assert "$.sysctl.values.net.core.somaxconn: needs a net namespace of the sandbox's own" in done.stderr
    assert "hint: set net.mode to on" in done.stderr
    assert "$.sysctl.values.kernel.pid_max: belongs to the whole machine, not to a namespace" in done.stderr


# ---- from Python ----

API = """
import json, os, sys
from nsjail_py import Sandbox, SandboxSpec, SetupError, UnsupportedError
from nsjail_py_sysctl import Sysctl

leases = sys.argv[1]
box = Sandbox(SandboxSpec(sysctl=Sysctl(values={"net.ipv4.ip_default_ttl": "43"}, leases=leases)))
own = [step for step in box.plan().steps if step.owner == "sysctl"]
said = {"steps": [f"{step.phase.name}: {step.text}" for step in own]}
result = box.run(["cat", "/proc/sys/net/ipv4/ip_default_ttl"], capture_output=True, text=True)
said |= {"inside": result.stdout, "leased": result.usage["leased"], "reason": result.reason}
with box.start(["sleep", "1000"]) as process:
    said["lease"] = os.listdir(leases) == [process.name]
    process.update(sysctl={"timer_slack": 4321})
    said["slack"] = open(f"/proc/{process.pid}/timerslack_ns").read()
    try:
        process.update(sysctl={"leases": "/tmp"})
    except UnsupportedError as error:
        said["fixed"] = error.message
    os.unlink(os.path.join(leases, process.name))
    os.kill(process.pid, 9)
    said["revoked"] = process.wait().reason
try:
    Sandbox(SandboxSpec(sysctl=Sysctl(values={"net.ipv4.ip_default_ttl": "many"}, leases=leases))).run(["true"])
except SetupError as error:
    said |= {"owner": error.owner, "hint": error.hint}
said["left"] = os.listdir(leases)
print(json.dumps(said))
"""


def test_the_api_uses_every_hook_of_it(fresh: Environment, tmp_path: Path) -> None:
    leases = tmp_path / "leases"
    leases.mkdir()
    argv = [fresh.bin / "python", "-c", API, leases]
    done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert 0 < said.pop("leased") < 60
    assert said == {
        "steps": ["SYSTEM: write '43' to /proc/sys/net/ipv4/ip_default_ttl"],
        "inside": "43\n",
        "reason": "exited",
        "lease": True,
        "slack": "4321\n",
        "fixed": "sysctl.leases cannot be changed while the sandbox runs",
        "revoked": "revoked",
        "owner": "sysctl",
        "hint": "the setting does not take this value",
        "left": [],
    }


# ---- from the command line ----


def test_its_options_stand_in_a_group_of_its_name(fresh: Environment) -> None:
    text = nsjail_py(fresh, "--plugin", "sysctl", "run", "--help").stdout
    assert "--sysctl NAME=VALUE" in text.partition("sysctl:")[2]
    done = nsjail_py(fresh, "run", "--plugin", "sysctl", "--sysctl", "net.ipv4.ip_default_ttl=44", "--", "cat", TTL)
    assert (done.returncode, done.stdout) == (0, "44\n"), done.stderr


def test_a_configuration_file_names_it_once_and_for_all(fresh: Environment, tmp_path: Path) -> None:
    (tmp_path / "nsjail-py").mkdir()
    (tmp_path / "nsjail-py" / "config.toml").write_text('plugins = ["sysctl"]\n')
    done = nsjail_py(fresh, "run", "--sysctl", "net.ipv4.ip_default_ttl=45", "--", "cat", TTL, home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "45\n"), done.stderr


def test_its_verb_and_its_line_in_doctor(fresh: Environment) -> None:
    done = nsjail_py(fresh, "--plugin", "sysctl", "sysctl", "net.ipv4.ip_default_ttl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "64"
    lines = nsjail_py(fresh, "--plugin", "sysctl", "doctor").stdout.splitlines()
    assert any(line.startswith("yes") and "settings of its own" in line for line in lines)


# ---- after a crash ----

OWNER = """
import sys, time
from nsjail_py import Sandbox, SandboxSpec
from nsjail_py_sysctl import Sysctl

process = Sandbox(SandboxSpec(sysctl=Sysctl(leases=sys.argv[1]))).start(["sleep", "1000"])
print(process.name, flush=True)
time.sleep(1000)
"""


class Crashed:
    """A sandbox with a lease whose owner was killed. Its state is in a directory of its own, an ordinary user's."""

    def __init__(self, fresh: Environment, user: OrdinaryUser, orphans: Orphans) -> None:
        self.fresh, self.user = fresh, user
        self.leases = user.home / "leases"
        self.leases.mkdir()
        os.chown(self.leases, user.uid, -1)
        owner = subprocess.Popen(
            self.command([fresh.bin / "python", "-c", OWNER, self.leases]),
            cwd=user.home,
            env=self.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        orphans.mine(owner.pid)
        with owner:
            assert owner.stdout is not None
            self.name = owner.stdout.readline().strip()
            owner.kill()
        assert eventually(lambda: not orphans.alive())

    @property
    def env(self) -> dict[str, str]:
        return {name: value for name, value in self.user.env().items() if name != "PYTHONPATH"}

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        if self.user.uid == os.geteuid():
            return [str(word) for word in argv]
        return as_other_user(argv, uid=self.user.uid, reach=[self.fresh.path, self.user.home])

    def nsjail_py(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = self.command([self.fresh.bin / "nsjail-py", *words])
        return subprocess.run(argv, cwd=self.user.home, env=self.env, capture_output=True, text=True, timeout=60)

    def left(self) -> tuple[list[str], list[str]]:
        """The leases and the records."""
        return os.listdir(self.leases), [path.name for path in (self.user.home / "nsjail-py").glob("*.json")]


def test_gc_gives_back_what_a_killed_owner_had(fresh: Environment, as_user: OrdinaryUser, orphans: Orphans) -> None:
    crashed = Crashed(fresh, as_user, orphans)
    name = crashed.name
    assert crashed.left() == ([name], [f"{name}.json"])
    done = crashed.nsjail_py("gc")
    assert done.returncode == 0, done.stderr
    assert f"{name}: gave back the lease {crashed.leases / name}" in done.stdout
    assert crashed.left() == ([], [])
    assert crashed.nsjail_py("gc").stdout.count(name) == 0


def test_so_does_the_next_start(fresh: Environment, as_user: OrdinaryUser, orphans: Orphans) -> None:
    crashed = Crashed(fresh, as_user, orphans)
    assert crashed.nsjail_py("run", "--", "true").returncode == 0
    assert crashed.left() == ([], [])


def test_without_the_plugin_what_it_left_stays_on_record(
    fresh: Environment, as_user: OrdinaryUser, orphans: Orphans
) -> None:
    crashed = Crashed(fresh, as_user, orphans)
    record = as_user.home / "nsjail-py" / f"{crashed.name}.json"
    # as if the package had been uninstalled since
    record.write_text(record.read_text().replace('"plugins":["sysctl"]', '"plugins":["missing"]'))
    done = crashed.nsjail_py("gc")
    assert f"{crashed.name}: kept on record: no plugin missing is installed" in done.stdout + done.stderr
    assert crashed.left() == ([crashed.name], [record.name])
