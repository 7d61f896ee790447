"""The plugins of the simple namespaces: what each plans for a recorded machine, and what each finds wrong."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nsjail_py import running
from nsjail_py.errors import Problem
from nsjail_py.linux.host import Host
from nsjail_py.plan.part import Part, Slot
from nsjail_py.plan.phases import Phase
from nsjail_py.plugin import Line, Section, constants, steps
from nsjail_py.plugin.namespaces import OpenNamespace
from nsjail_py.plugin.sections import Cgroupns, Ipc, Net, Timens, Uts
from nsjail_py.spec.units import Mode
from nsjail_py_plugins import cgroupns, ipc, net, timens, uts
from tests.plugins.machines import NO_USER_NAMESPACE, ROOT, USER, part, problems, spec

NEW_CGROUP = steps.unshare(constants.CLONE_NEWCGROUP, phase=Phase.SYSTEM, text="new cgroup namespace")
NEW_TIME = steps.unshare(constants.CLONE_NEWTIME, phase=Phase.SYSTEM, text="new time namespace", rank=-10)

#: Section: plugin, type, flag, name in /proc/PID/ns, and the part of a new one.
PLUGINS: dict[str, tuple[ModuleType, type[Section], int, str, Part]] = {
    "uts": (
        uts,
        Uts,
        constants.CLONE_NEWUTS,
        "uts",
        Part(flags=constants.CLONE_NEWUTS, steps=(steps.hostname("sandbox"),)),
    ),
    "ipc": (ipc, Ipc, constants.CLONE_NEWIPC, "ipc", Part(flags=constants.CLONE_NEWIPC)),
    "net": (
        net,
        Net,
        constants.CLONE_NEWNET,
        "net",
        Part(flags=constants.CLONE_NEWNET, steps=(steps.loopback(),)),
    ),
    "cgroupns": (cgroupns, Cgroupns, constants.CLONE_NEWCGROUP, "cgroup", Part(steps=(NEW_CGROUP,))),
    "timens": (timens, Timens, constants.CLONE_NEWTIME, "time", Part(steps=(NEW_TIME,))),
}


@pytest.mark.parametrize("host", [ROOT, USER], ids=["root", "user"])
@pytest.mark.parametrize("mode", ["on", "try"])
@pytest.mark.parametrize("section", PLUGINS)
def test_a_new_namespace(section: str, mode: str, host: Host) -> None:
    plugin, kind, _, _, expected = PLUGINS[section]
    wanted = spec(**{section: kind(mode=mode)})
    assert part(plugin, wanted, host) == expected
    assert problems(plugin, wanted, host) == []
    assert part(plugin, wanted, host, "exec") is None


@pytest.mark.parametrize("section", PLUGINS)
def test_none(section: str) -> None:
    plugin, kind, *_ = PLUGINS[section]
    wanted = spec(**{section: kind(mode="off")})
    assert part(plugin, wanted) == Part()
    assert problems(plugin, wanted) == []


@pytest.mark.parametrize("section", PLUGINS)
def test_one_that_cannot_be_had(section: str) -> None:
    plugin, kind, *_ = PLUGINS[section]
    warning = f"{section}: no namespace of its own: this kernel or user cannot have one"
    assert part(plugin, spec(**{section: kind(mode="try")}), NO_USER_NAMESPACE) == Part(warnings=(warning,))
    assert problems(plugin, spec(**{section: kind(mode="on")}), NO_USER_NAMESPACE) == [
        Problem(
            f"$.{section}.mode",
            f"this kernel or user cannot have a new {section} namespace",
            f"see nsjail-py doctor, or set {section}.mode to try",
        )
    ]


@pytest.mark.parametrize(("kind", "value"), [("path", "/dev/null"), ("pid", "1"), ("fd", "7")])
@pytest.mark.parametrize("section", PLUGINS)
def test_one_that_is_joined(section: str, kind: str, value: str) -> None:
    plugin, struct, flag, name, _ = PLUGINS[section]
    slot = Slot(f"ns:{section}")
    wanted = spec(**{section: struct(mode=f"{kind}:{value}")})
    expected = Part(
        actions=(OpenNamespace(kind=name, mode=Mode(kind, value), slot=slot),),  # type: ignore[arg-type]
        steps=(steps.setns(slot, flag, text=f"join the {section} namespace of {kind} {value}"),),
    )
    assert part(plugin, wanted) == expected
    assert problems(plugin, wanted) == []
    opening = expected.actions[0]
    assert opening.text == f"open the {name} namespace of {kind} {value}"
    assert (opening.phase, opening.fills) == (Phase.HOST, (slot,))


@pytest.mark.parametrize("section", PLUGINS)
def test_an_ordinary_user_is_told_what_joining_takes(section: str) -> None:
    plugin, struct, *_ = PLUGINS[section]
    made = part(plugin, spec(**{section: struct(mode="pid:1")}), USER)
    assert made is not None
    hint = "an ordinary user joins it together with the user namespace that it belongs to: set user.mode too"
    assert [step.hint for step in made.steps] == [hint]


@pytest.mark.parametrize(
    ("mode", "message", "hint"),
    [
        ("path:/no/where", "/no/where does not exist", "name a file such as /run/netns/NAME or /proc/PID/ns/KIND"),
        ("pid:4194304", "there is no process 4194304", "name a running process"),
        ("name:nobody", "no sandbox named nobody is running", "nsjail-py ps lists the running ones"),
    ],
)
@pytest.mark.parametrize("section", PLUGINS)
def test_one_that_is_not_there(
    section: str, mode: str, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "state_directory", lambda **_: str(tmp_path))
    plugin, struct, *_ = PLUGINS[section]
    expected = [Problem(f"$.{section}.mode", message, hint)]
    assert problems(plugin, spec(**{section: struct(mode=mode)})) == expected


@pytest.mark.parametrize("section", PLUGINS)
def test_doctor(section: str) -> None:
    plugin = PLUGINS[section][0]
    topic = f"{section} namespace"
    assert list(plugin.nsjail_doctor(host=USER)) == [Line(topic=topic, state="yes", detail="can be made")]
    assert list(plugin.nsjail_doctor(host=NO_USER_NAMESPACE)) == [
        Line(
            topic=topic,
            state="no",
            detail="cannot be made by this user on this kernel",
            remedy="sysctl kernel.unprivileged_userns_clone=1",
        )
    ]


# ---- uts ----


def test_names() -> None:
    wanted = spec(uts=Uts(hostname="box", domainname="example"))
    assert part(uts, wanted) == Part(
        flags=constants.CLONE_NEWUTS, steps=(steps.hostname("box"), steps.domainname("example"))
    )


@pytest.mark.parametrize("mode", ["off", "pid:1"])
def test_names_need_a_namespace_of_its_own(mode: str) -> None:
    wanted = spec(uts=Uts(mode=mode, hostname="box", domainname="example"))
    assert problems(uts, wanted) == [
        Problem(
            f"$.uts.{name}", "needs a uts namespace of the sandbox's own", f"leave out {name}, or set uts.mode to on"
        )
        for name in ("hostname", "domainname")
    ]


# ---- net ----


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("loopback", Part(flags=constants.CLONE_NEWNET, steps=(steps.loopback(),))),
        ("none", Part(flags=constants.CLONE_NEWNET)),
        ("host", Part()),
    ],
)
def test_the_words_of_net(mode: str, expected: Part) -> None:
    assert part(net, spec(net=Net(mode=mode))) == expected


# ---- time ----


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        (Timens(monotonic=1), b"monotonic 1 0"),
        (Timens(boottime=-2.5), b"boottime -3 500000000"),
        (Timens(mode="on", monotonic=0.000000001, boottime=86400), b"monotonic 0 1\nboottime 86400 0"),
    ],
)
def test_offsets(section: Timens, lines: bytes) -> None:
    written = steps.write_file("/proc/self/timens_offsets", lines, phase=Phase.SYSTEM, rank=-9)
    assert part(timens, spec(timens=section)) == Part(steps=(NEW_TIME, written))


def test_no_time_namespace_unless_one_is_wanted() -> None:
    assert part(timens, spec()) == Part()


def test_offsets_of_a_joined_one() -> None:
    wanted = spec(timens=Timens(mode="fd:7", boottime=1))
    expected = [Problem("$.timens", "a joined time namespace has offsets already", "leave out monotonic and boottime")]
    assert problems(timens, wanted) == expected


# ---- options ----


@pytest.mark.parametrize(
    ("plugin", "flag", "value", "expected"),
    [
        (uts, "--hostname", "box", {"uts": {"hostname": "box"}}),
        (uts, "--domainname", "example", {"uts": {"domainname": "example"}}),
        (net, "--net", "host", {"net": {"mode": "host"}}),
        (timens, "--monotonic", "1.5", {"timens": {"monotonic": 1.5}}),
        (timens, "--boottime", "-1", {"timens": {"boottime": -1.0}}),
    ],
)
def test_options(plugin: ModuleType, flag: str, value: str, expected: dict[str, Any]) -> None:
    (option,) = [option for option in plugin.nsjail_options() if option.flag == flag]
    assert option.fill(value) == expected
    assert not option.repeat


def test_a_time_that_is_no_number() -> None:
    option = timens.nsjail_options()[0]
    with pytest.raises(ValueError, match="soon"):
        option.fill("soon")
