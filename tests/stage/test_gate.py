"""Gates: what a release may bring, and what becomes of a stage that nobody releases."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.stage.blob import Slot, Step, const, encode, sealed, step
from tests.stage.kernel import NEWPID
from tests.stage.running import (
    EXTRA,
    STDERR,
    STDIN,
    STDOUT,
    STREAMS,
    Launcher,
    Running,
    descriptors,
    execute,
    opened,
    shell,
)

pytestmark = pytest.mark.root


def gate(name: str, slot: int = 0, count: int = 0) -> Step:
    return step("GATE", const(f"GATE_{name}"), slot, count)


READY = [gate("READY")]


def test_fills_more_slots_than_there_are_low_numbers(launcher: Launcher, tmp_path: Path) -> None:
    """250 descriptors land on numbers that are other ones' slots."""
    count = const("MAX_PASS")
    for number in range(count):
        (tmp_path / str(number)).write_text(f"{number}\n")
    fds = [os.open(tmp_path / str(number), os.O_RDONLY | os.O_CLOEXEC) for number in range(count)]
    pairs = [(STDIN, 0), (STDOUT, 1), (STDERR, 2), *((10 + number, 1000 + number) for number in range(count))]
    limit = step("RLIMIT", 7, 4096, 4096)
    script = f"for n in $(seq 1000 {999 + count}); do read line <&$n; echo $line; done"
    plan = [limit, gate("CREATED", 10, count), descriptors(*pairs), execute("/bin/bash", "-c", script)]
    with launcher.start(plan, nslots=300) as stage:
        stage.expect("GATE")
        stage.release("CREATED", 10, fds)
        assert stage.finish().succeeded().output.split() == [str(number) for number in range(count)]
    for fd in fds:
        os.close(fd)


def test_suffix_replaces_the_rest_and_counts_on(launcher: Launcher) -> None:
    with launcher.start([step("UMASK", 0o27), gate("READY"), *shell("echo the rest")], trace=True) as stage:
        stage.expect("TRACE")
        stage.expect("GATE")
        stage.release("READY", steps=[step("UMASK", 0o77), *shell("umask; echo the suffix")])
        done = stage.finish().succeeded()
    assert done.output == "0077\nthe suffix\n"
    assert [report.step for report in done.of("TRACE")] == [0, 1, 4, 5]


def test_failure_in_a_suffix_names_its_step(launcher: Launcher) -> None:
    with launcher.start(READY) as stage:
        stage.expect("GATE")
        stage.release("READY", steps=[step("UMASK", 0), step("CHDIR", ["/nowhere"]), *shell("echo ran")])
        assert stage.finish().failed(errno.ENOENT, at="ENTRY").step == 2


def test_suffix_with_descriptors_of_its_own(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("for this call")
    with launcher.start(READY) as stage, opened(tmp_path / "file", os.O_RDONLY) as fd:
        stage.expect("GATE")
        suffix = [descriptors((30, 0), (STDOUT, 1), (STDERR, 2)), execute("/bin/cat")]
        stage.release("READY", 30, [fd], steps=suffix)
        assert stage.finish().succeeded().output == "for this call"


def test_descriptors_before_the_gate_hold_for_the_suffix(launcher: Launcher) -> None:
    with launcher.start([STREAMS, *READY]) as stage:
        stage.expect("GATE")
        stage.release("READY", steps=[execute("/bin/bash", "-c", "echo /proc/self/fd/*")])
        assert stage.finish().succeeded().output.split()[:3] == [f"/proc/self/fd/{n}" for n in range(3)]


def test_suffix_that_parks_again(launcher: Launcher) -> None:
    with launcher.start(READY) as stage:
        stage.expect("GATE")
        stage.release("READY", steps=[step("UMASK", 0o11), gate("PARKED")])
        report = stage.expect("GATE")
        assert (report.step, report.value[0]) == (2, const("GATE_PARKED"))
        stage.release("PARKED", steps=shell("umask"))
        assert stage.finish().succeeded().output == "0011\n"


def test_parked_after_init(launcher: Launcher) -> None:
    """The payload's side waits at the gate; init starts to exist once that has gone into exec."""
    with launcher.start([step("INIT", 0, None), gate("PARKED")], namespaces=NEWPID) as stage:
        stage.expect("GATE")
        stage.release("PARKED", steps=shell("echo $$; exit 5"))
        done = stage.finish()
    assert (done.output, done.status) == ("2\n", 5)
    assert len(done.of("STARTED")) == len(done.of("EXITED")) == 1


def test_parked_stage_holds_nothing_but_its_slots(launcher: Launcher) -> None:
    """Of what its starter had open, or another sandbox would wait for an end of file that never comes."""
    with launcher.start(READY) as stage:
        stage.expect("GATE")
        born = set(range(64, 64 + EXTRA)) - {64 + const("SLOT_PLAN")}
        assert {int(name) for name in os.listdir(f"/proc/{stage.pid}/fd")} == born


BAD_SUFFIXES = {
    "flags": (encode(shell(":"), nbirth=0, flags=1), "FLAGS", 0),
    "born slots": (encode(shell(":"), nbirth=3), "COUNT", 0),
    "an empty slot": (encode([step("CLOSE", Slot(40)), *shell(":")], nbirth=0), "SLOT", 0),
    "the second exec": (encode([*shell(":"), execute("/bin/true")], nbirth=0), "ORDER", 1),
    "no exec": (encode([step("SETSID")], nbirth=0), "ORDER", 0),
    "a second init": (encode([step("INIT", 0, None), *shell(":")], nbirth=0), "ORDER", 0),
    "garbage": (b"\0" * 100, "MAGIC", 0),
}


@pytest.mark.parametrize("what", BAD_SUFFIXES)
def test_suffix_is_verified_as_a_plan_is(what: str, launcher: Launcher) -> None:
    blob, reason, number = BAD_SUFFIXES[what]
    plan = [step("INIT", 0, None), *READY]
    with launcher.start(plan, namespaces=NEWPID) as stage:
        stage.expect("GATE")
        stage.release("READY", steps=blob)
        done = stage.finish()
    (report,) = done.of("BAD_PLAN")
    assert (report.step, report.value[0]) == (len(plan) + number, const(f"BAD_{reason}"))
    assert (done.output, done.status) == ("", 125)


def test_suffix_that_can_still_be_changed(launcher: Launcher) -> None:
    with launcher.start(READY) as stage:
        stage.expect("GATE")
        fd = sealed(encode(shell("echo ran"), nbirth=0), seals=0)
        stage.control("RELEASE", const("GATE_READY"), suffix=fd)
        os.close(fd)
        (report,) = stage.finish().of("BAD_PLAN")
    assert report.value[0] == const("BAD_SEAL")


def _wrong_number(stage: Running) -> None:
    stage.release("MAPPED")


def _wrong_count(stage: Running) -> None:
    stage.release("CREATED", 10)


def _wrong_slot(stage: Running) -> None:
    with opened("/dev/null", os.O_RDONLY) as fd:
        stage.release("CREATED", 11, [fd])


def _suffix_where_none_may_be(stage: Running) -> None:
    with opened("/dev/null", os.O_RDONLY) as fd:
        stage.release("CREATED", 10, [fd], steps=shell("echo ran"))


def _missing_descriptor(stage: Running) -> None:
    stage.socket.send(b"\1\0" + bytes([10, 0, 1, 0, 0, 0]) + const("GATE_CREATED").to_bytes(4, "little") + bytes(4))


def _signal(stage: Running) -> None:
    stage.control("SIGNAL", 9)


def _short(stage: Running) -> None:
    stage.socket.send(b"\1\0")


def _long(stage: Running) -> None:
    stage.socket.send(bytes(100))


MALFORMED = (_wrong_number, _wrong_count, _wrong_slot, _suffix_where_none_may_be, _missing_descriptor, _signal,
             _short, _long)  # fmt: skip


@pytest.mark.parametrize("send", MALFORMED)
def test_malformed_release(send: object, launcher: Launcher) -> None:
    with launcher.start([gate("CREATED", 10, 1), *shell("echo ran")]) as stage:
        stage.expect("GATE")
        assert callable(send)
        send(stage)
        stage.finish().failed(errno.EPROTO, at="RELEASE")


def test_suffix_and_a_slot_that_is_filled(launcher: Launcher) -> None:
    with launcher.start(READY) as stage, opened("/dev/null", os.O_RDONLY) as fd:
        stage.expect("GATE")
        stage.release("READY", STDIN, [fd], steps=shell("echo ran"))
        stage.finish().failed(errno.EPROTO, at="RELEASE")


@pytest.mark.parametrize("before", [[], [step("INIT", 0, None)]], ids=["stage", "beside init"])
def test_nobody_left_to_release(before: list[Step], launcher: Launcher) -> None:
    with launcher.start([*before, *READY], namespaces=NEWPID) as stage:
        stage.expect("GATE")
        stage.socket.close()
        assert stage.output() == "", "end of file: no process of it is left"
        assert stage.process.wait() == 125


@pytest.mark.parametrize(
    ("namespaces", "before", "status"),
    [(0, [], 125), (NEWPID, [step("INIT", 0, None)], 125), (0, [step("UNSHARE", NEWPID), step("FORK")], -9)],
    ids=["stage", "beside init", "below fork"],
)
def test_owner_dies(namespaces: int, before: list[Step], status: int, launcher: Launcher) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as owner:
        watched = os.pidfd_open(owner.pid)
        with launcher.start([*before, *READY], namespaces=namespaces, owner=watched) as stage:
            stage.expect("GATE")
            owner.kill()
            assert stage.receive() is None
            assert stage.output() == ""
            assert stage.process.wait() == status
        os.close(watched)


def test_gate_is_past_when_the_slot_is_read(launcher: Launcher) -> None:
    """A gate's slots are empty before it."""
    done = launcher.run([step("CLOSE", Slot(10)), gate("CREATED", 10, 1), *shell("echo ran")])
    assert done.reports[0].value[0] == const("BAD_SLOT")
    assert EXTRA < 10
