"""Starting one isolated process: the whole ``Sandbox.run([...], capture_output=True)`` in Python.

Next to it: the floor (C, clone to reaped), ``subprocess.run`` without isolation, and bubblewrap with the same
namespaces and mounts. As root and as an ordinary user, back to back and with gaps, from a small and from a large
process, and namespace by namespace.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import floor, ordinary_user
from benchmarks.busybox import busybox_root
from benchmarks.caller import Caller
from benchmarks.measure import Bar, Case, Report, Table, interleave

SOURCES = Path(__file__).resolve().parent.parent
ORDINARY = 12345
GAP = 0.05
LARGE_MIB = 1024

RUN = "Sandbox.run"
PID1 = "Sandbox.run, payload is pid 1"

#: Sections of a spec and the letters of the floor, by name of the set.
SETS = {
    "no namespace": ((), "-"),
    "user": (("user",), "U"),
    "pid": (("pid",), "p"),
    "ipc": (("ipc",), "i"),
    "uts": (("uts",), "u"),
    "cgroup": (("cgroupns",), "c"),
    "net": (("net",), "n"),
    "mnt": (("mnt",), "m"),
    "all but net": (("user", "pid", "ipc", "uts", "cgroupns", "mnt"), "mpiucU"),
    "all seven": (("user", "pid", "ipc", "uts", "cgroupns", "mnt", "net"), floor.ALL),
}
SECTIONS = SETS["all seven"][0]


class Place:
    """What all cases of one user share.

    :param directory: holds the floor program and the root directory
    :param uid: the user
    """

    def __init__(self, directory: Path, uid: int) -> None:
        self.root = directory / "root"
        self.floor = directory / "floor"
        self.who = "root" if uid == 0 else f"uid {uid}"
        self.prefix: list[str] = []
        if uid != os.geteuid():
            self.prefix = ordinary_user.command([], uid=uid, reach=[SOURCES, directory])

    def caller(self, mib: int = 0) -> Caller:
        return Caller(mib, prefix=self.prefix, cwd=SOURCES)

    def bare(self, name: str, namespaces: str = floor.ALL, options: Sequence[str] = ()) -> Case:
        command = "/bin/true" if "m" in namespaces else str(self.root / "bin/true")
        return floor.case(name, [*self.prefix, self.floor], namespaces, self.root, command, options=options)

    def sandbox(self, **sections: dict[str, Any]) -> dict[str, Any]:
        """Arguments of ``Sandbox``.

        :param sections: of the spec, by name
        """
        return {"profile": "trusted", "rootfs": str(self.root), "spec": sections}

    def bubblewrap(self) -> list[str]:
        """The namespaces, mounts and properties that the sandbox has too."""
        namespaces = [f"--unshare-{name}" for name in ("user", "ipc", "pid", "net", "uts", "cgroup")]
        mounts = ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        return [
            "bwrap",
            *namespaces,
            *mounts,
            "--hostname",
            "sandbox",
            "--die-with-parent",
            "--new-session",
            "--",
            "/bin/true",
        ]


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nsjail-py-benchmark-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the range that a new user namespace maps to may enter too
        floor.build(directory)
        busybox_root(directory / "root")
        yield directory


def _starts(place: Place, caller: Caller, gap: float) -> list[Case]:
    options = ["-g", str(round(gap * 1000))] if gap else []
    true = place.root / "bin/true"
    # without an init or a watcher nobody could hold a range of ids once the caller has gone
    alone = place.sandbox(pid={"init": False, "die_with_owner": False}, user={"map": "single"})
    cases = [
        place.bare("floor", options=options),
        place.bare("floor, output read", options=[*options, "-o"]),
        caller.case(PID1, ["/bin/true"], sandbox=alone, gap=gap),
        caller.case(f"{PID1}, watched", ["/bin/true"], sandbox=place.sandbox(pid={"init": False}), gap=gap),
        caller.case(RUN, ["/bin/true"], sandbox=place.sandbox(), gap=gap),
        caller.case("subprocess.run, no isolation", [true], gap=gap),
    ]
    if not place.prefix and os.geteuid() == 0:  # only root makes id-mapped mounts
        cases.insert(1, place.bare("floor, idmapped root", options=[*options, "-i"]))
    if shutil.which("bwrap"):
        cases.append(caller.case("bubblewrap", place.bubblewrap(), gap=gap))
    return cases


def _launches(report: Report, place: Place, runs: int) -> None:
    with place.caller() as caller:
        title = f"one start, as {place.who}, back to back"
        table = Table(title, interleave(_starts(place, caller, 0), runs), "floor")
        title = f"one start, as {place.who}, {GAP * 1000:.0f} ms after the one before"
        spaced = Table(title, interleave(_starts(place, caller, GAP), max(runs // 4, 10)), "floor")
    report.tables += [table, spaced]
    for name, limit in ((PID1, 1.6), (RUN, 1.8)):
        report.bars.append(Bar(f"{name}, to the floor, as {place.who}", table.ratio(name, "floor"), limit))
        report.bars.append(Bar(f"{name}, to the floor, with gaps, as {place.who}", spaced.ratio(name, "floor"), 2))
    if shutil.which("bwrap"):
        report.bars.append(Bar(f"{RUN}, to bubblewrap, as {place.who}", table.ratio(RUN, "bubblewrap"), 0.6))


def _sizes(report: Report, place: Place, runs: int) -> None:
    large = f"from a process of {LARGE_MIB} MiB"
    with place.caller() as small_caller, place.caller(LARGE_MIB) as large_caller:
        cases = [
            small_caller.case("from a small process", ["/bin/true"], sandbox=place.sandbox()),
            large_caller.case(large, ["/bin/true"], sandbox=place.sandbox()),
        ]
        table = Table(
            f"by size of the calling process, as {place.who}", interleave(cases, runs), "from a small process"
        )
    report.tables.append(table)
    text = f"{large}, to a small one, as {place.who}"
    report.bars.append(Bar(text, table.ratio(large, "from a small process"), 1.1))


def _sets(report: Report, place: Place, runs: int) -> None:
    cases = []
    with place.caller() as caller:
        for name, (sections, letters) in SETS.items():
            spec: dict[str, Any] = {each: {"mode": "on" if each in sections else "off"} for each in SECTIONS}
            spec["mnt"]["proc"] = "pid" in sections  # procfs shows a pid namespace of the sandbox's own
            arguments: dict[str, Any] = {"profile": "trusted", "spec": spec}
            if "mnt" in sections:
                arguments["rootfs"] = str(place.root)
            command = "/bin/true" if "mnt" in sections else place.root / "bin/true"
            cases.append(place.bare(f"{name}: floor", letters))
            cases.append(caller.case(f"{name}: {RUN}", [command], sandbox=arguments))
        rows = interleave(cases, runs)
    report.tables.append(Table(f"by set of namespaces, as {place.who}", rows, "no namespace: floor"))


def run(runs: int) -> Report:
    """Measure launches; ``runs`` of each case, a quarter of that with gaps."""
    report = Report("launch")
    users = [0, ORDINARY] if os.geteuid() == 0 else [os.geteuid()]
    if len(users) == 1:
        report.notes.append("as root: this is not root")
    if not shutil.which("bwrap"):
        report.notes.append("bubblewrap: not installed")
    with _directory() as directory:
        for uid in users:
            place = Place(directory, uid)
            _launches(report, place, runs)
            _sizes(report, place, runs)
        _sets(report, Place(directory, os.geteuid()), runs)
    return report
