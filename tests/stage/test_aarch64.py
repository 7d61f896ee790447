"""The stage for the other architecture: cross-compiled, and run under qemu-user where it needs no namespaces."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

from cffi_build.build_stage import build
from tests.stage.blob import Step, const, encode, step
from tests.stage.conftest import once
from tests.stage.running import ENVIRONMENT, STREAMS, Launcher
from tests.stage.test_verify import REFUSED

CROSS, QEMU = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64-static")

pytestmark = [
    pytest.mark.skipif(not CROSS, reason="needs aarch64-linux-gnu-gcc"),
    pytest.mark.skipif(not QEMU, reason="needs qemu-aarch64-static"),
]

PROGRAM = r"""
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char where[99];
    for (int i = 1; i < argc; i++) printf("%s ", argv[i]);
    printf("%s %03o\n", getcwd(where, sizeof where), umask(0));
    return 5;
}
"""


@pytest.fixture(scope="module")
def emulated(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    stage = once(tmp_path_factory, "stage-aarch64", lambda out: build(out, cc=str(CROSS)))
    return Launcher(f"{QEMU}:{stage}", launcher.launch, launcher.probe)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(out: Path) -> None:
        command = [str(CROSS), "-static", "-x", "c", "-", "-o", str(out)]
        subprocess.run(command, input=PROGRAM, text=True, check=True)

    return once(tmp_path_factory, "program-aarch64", make)


def execute(program: Path) -> list[Step]:
    """The kernel cannot run the program, and is not asked to: its emulator is the payload."""
    return [STREAMS, step("EXEC", ["/nowhere", str(QEMU)], ["qemu", str(program), "one", "two"], ENVIRONMENT)]


def test_carries_out_a_plan(emulated: Launcher, program: Path, tmp_path: Path) -> None:
    plan = [step("CHDIR", [str(tmp_path)]), step("UMASK", 0o27), *execute(program)]
    done = emulated.run(plan, trace=True)
    assert (done.output, done.status) == (f"one two {tmp_path} 027\n", 5)
    assert [report.step for report in done.of("TRACE")] == [0, 1, 2]


def test_waits_at_a_gate_for_a_suffix(emulated: Launcher, program: Path) -> None:
    with emulated.start([step("UMASK", 0o11), step("GATE", const("GATE_CREATED"), 0, 0), *execute(program)]) as stage:
        stage.expect("GATE")
        stage.release("CREATED")
        assert stage.finish().status == 5


def test_reports_a_failure(emulated: Launcher, program: Path) -> None:
    failure = emulated.run([step("CHDIR", ["/nowhere"]), *execute(program)]).failed(errno.ENOENT, at="ENTRY")
    assert failure.step == 0


@pytest.mark.parametrize("what", [name for name, (blob, *_) in REFUSED.items() if blob][::4])
def test_refuses(what: str, emulated: Launcher) -> None:
    blob, reason, number = REFUSED[what]
    (report,) = emulated.run(blob).reports
    assert (report.kind, report.step, report.value[0]) == (
        const("REPORT_BAD_PLAN"), number, const(f"BAD_{reason}"),
    )  # fmt: skip


def test_accepts_what_it_should(emulated: Launcher, program: Path) -> None:
    assert emulated.run(encode(execute(program))).status == 5
