"""One success and one failure of each namespace opcode."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tests.stage.blob import Slot, const, step
from tests.stage.kernel import NEWNET, NEWUSER, NEWUTS
from tests.stage.running import EXTRA, Launcher, opened, shell

Case = Callable[[Launcher, Path], None]
NO_CAPS = step("CAPS", 0, 0, 0, 0)
UTS = "readlink /proc/self/ns/uts"


def unshare(launcher: Launcher, tmp: Path) -> None:
    done = launcher.run([step("UNSHARE", NEWUTS), *shell(UTS)]).succeeded()
    assert done.output.strip() != os.readlink("/proc/self/ns/uts")


def unshare_fails(launcher: Launcher, tmp: Path) -> None:
    launcher.run([step("UNSHARE", 1 << 40), *shell("echo ran")]).failed(errno.EINVAL)


def setns(launcher: Launcher, tmp: Path) -> None:
    with opened("/proc/self/ns/uts", os.O_RDONLY) as fd:
        plan = [step("SETNS", Slot(EXTRA), NEWUTS), *shell(UTS)]
        done = launcher.run(plan, namespaces=NEWUTS, extra=[fd]).succeeded()
    assert done.output.strip() == os.readlink("/proc/self/ns/uts")


def setns_fails(launcher: Launcher, tmp: Path) -> None:
    with opened("/proc/self/ns/uts", os.O_RDONLY) as fd:
        launcher.run([step("SETNS", Slot(EXTRA), NEWNET), *shell("echo ran")], extra=[fd]).failed(errno.EINVAL)


def identity(launcher: Launcher, tmp: Path) -> None:
    script = "id -u; id -g; id -G; grep CapEff /proc/self/status"
    plan = [step("IDENTITY", 0, 0, const("IDENTITY_DROP_GROUPS")), *shell(script)]
    uid, gid, groups, caps = launcher.run(plan, namespaces=NEWUSER).succeeded().output.splitlines()
    assert (uid, gid, groups) == ("0", "0", "0")
    assert int(caps.split()[1], 16) != 0


def identity_keeps(launcher: Launcher, tmp: Path) -> None:
    """Not in the table: with ids kept, the effective set is raised to the permitted one all the same."""
    lowered = step("CAPS", 0, 1 << 21, 0, 0)
    plan = [
        step("IDS", 1000, 1000), lowered, step("IDENTITY", 0, 0, const("IDENTITY_KEEP")),
        step("CAPS", 1 << 21, 1 << 21, 1 << 21, 1 << 21), *shell("id -u; grep CapEff /proc/self/status"),
    ]  # fmt: skip
    assert launcher.run(plan).succeeded().output.split() == ["1000", "CapEff:", f"{1 << 21:016x}"]


def identity_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [step("IDENTITY", 70000, 0, 0), *shell("echo ran")]
    launcher.run(plan, namespaces=NEWUSER).failed(errno.EINVAL)


def hostname(launcher: Launcher, tmp: Path) -> None:
    plan = [step("HOSTNAME", "box.example"), *shell("hostname")]
    assert launcher.run(plan, namespaces=NEWUTS).succeeded().output == "box.example\n"


def hostname_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [step("HOSTNAME", "x" * 65), *shell("echo ran")]
    launcher.run(plan, namespaces=NEWUTS).failed(errno.EINVAL)


def domainname(launcher: Launcher, tmp: Path) -> None:
    plan = [step("DOMAINNAME", "example"), *shell("cat /proc/sys/kernel/domainname")]
    assert launcher.run(plan, namespaces=NEWUTS).succeeded().output == "example\n"


def domainname_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [NO_CAPS, step("DOMAINNAME", "x"), *shell("echo ran")]
    launcher.run(plan, namespaces=NEWUTS).failed(errno.EPERM)


def loopback(launcher: Launcher, tmp: Path) -> None:
    script = "ip -o link show lo | grep -c LOWER_UP"
    assert launcher.run([step("LOOPBACK", 1), *shell(script)], namespaces=NEWNET).succeeded().output == "1\n"
    down = launcher.run([step("LOOPBACK", 1), step("LOOPBACK", 0), *shell(script)], namespaces=NEWNET)
    assert down.output == "0\n"


def loopback_fails(launcher: Launcher, tmp: Path) -> None:
    launcher.run([NO_CAPS, step("LOOPBACK", 1), *shell("echo ran")], namespaces=NEWNET).failed(errno.EPERM)


PASSING: dict[str, Case] = {
    "UNSHARE": unshare, "SETNS": setns, "IDENTITY": identity, "HOSTNAME": hostname, "DOMAINNAME": domainname,
    "LOOPBACK": loopback,
}  # fmt: skip
FAILING: dict[str, Case] = {
    "UNSHARE": unshare_fails, "SETNS": setns_fails, "IDENTITY": identity_fails, "HOSTNAME": hostname_fails,
    "DOMAINNAME": domainname_fails, "LOOPBACK": loopback_fails,
}  # fmt: skip
