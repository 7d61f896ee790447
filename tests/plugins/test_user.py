"""The user plugin: which ids are mapped, by whom, and who the stage becomes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nsjail_py.errors import Problem
from nsjail_py.linux.host import Host
from nsjail_py.plan.part import Part, Slot
from nsjail_py.plan.phases import Phase
from nsjail_py.plugin import IdMaps, IdRange, Launch, Line, constants, identity, steps
from nsjail_py.plugin.sections import Cgroupns, Ipc, Mnt, Net, Pid, Process, User, Uts
from nsjail_py_plugins import user
from nsjail_py_plugins.user import ranges
from nsjail_py_plugins.user.groups import WarnOfGroups
from nsjail_py_plugins.user.maps import SetMaps, TakeRange, WriteMapsByHelper, parse_ranges
from tests.plugins.machines import NO_USER_NAMESPACE, ROOT, SUBIDS, USER, part, problems, spec

NEW = constants.CLONE_NEWUSER
DROP, KEEP = constants.NSJ_IDENTITY_DROP_GROUPS, constants.NSJ_IDENTITY_KEEP
UNNESTED = steps.write_file("/proc/sys/user/max_user_namespaces", b"0", phase=Phase.IDENTITY, rank=50)


def single(inside: tuple[int, int], outside: tuple[int, int], *, setgroups: bool) -> SetMaps:
    uids, gids = ((IdRange(own, theirs, 1),) for own, theirs in zip(inside, outside, strict=True))
    return SetMaps(maps=IdMaps(uids, gids, setgroups=setgroups))


def test_root_takes_a_range_and_becomes_its_root() -> None:
    expected = Part(flags=NEW, actions=(TakeRange(count=65536),), steps=(steps.identity(0, 0, DROP), UNNESTED))
    assert part(user, spec()) == expected
    assert expected.actions[0].text == "take a range of 65536 host ids"


def test_an_ordinary_user_is_mapped_alone() -> None:
    made = single((1000, 1000), (1234, 1234), setgroups=False)
    become = steps.identity(1000, 1000, KEEP)
    assert part(user, spec(), USER) == Part(flags=NEW, actions=(made,), steps=(become, UNNESTED))
    assert made.text == "map uids 1000:1234:1"


def test_as_root_inside_it_has_the_usual_capabilities() -> None:
    made = part(user, spec(process=Process(user="0:0")), USER)
    assert made is not None
    assert made.actions == (single((0, 0), (1234, 1234), setgroups=False),)
    assert made.steps[0] == steps.identity(0, 0, 0)


@pytest.mark.parametrize(
    ("section", "groups", "kind"),
    [
        (User(map="range"), (), "subids"),
        (User(), (5,), "subids"),
        (User(), (), "single"),
        (User(map="single"), (5,), "single"),
    ],
)
def test_when_subordinate_ids_are_used(section: User, groups: tuple[int, ...], kind: str) -> None:
    wanted = spec(user=section, process=Process(user="1000:1000", groups=groups))
    assert identity.mapping(wanted, SUBIDS) == kind


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (1000, ((0, 100000, 1000), (1000, 1234, 1), (1001, 101000, 64536))),
        (0, ((0, 1234, 1), (1, 100000, 65536))),
        (65536, ((0, 100000, 65536), (65536, 1234, 1))),
        (70000, ((0, 100000, 65536), (70000, 1234, 1))),
    ],
)
def test_the_payload_is_the_caller_among_subordinate_ids(inside: int, expected: Any) -> None:
    wanted = spec(user=User(map="range"), process=Process(user=f"{inside}:1000"))
    made = part(user, wanted, SUBIDS)
    assert made is not None
    setting, writing = made.actions
    assert isinstance(setting, SetMaps)
    assert setting.maps.uids == tuple(IdRange(*each) for each in expected)
    assert setting.maps.gids[0] == IdRange(0, 200000, 1000)
    assert (setting.maps.setgroups, setting.maps.helper) == (True, True)
    assert writing == WriteMapsByHelper()
    assert made.steps[0] == steps.identity(0, 0, DROP)


def test_keep_maps_the_callers_own_ids() -> None:
    made = part(user, spec(user=User(map="keep"), process=Process(user="1234:1234")), USER)
    assert made is not None
    assert made.actions == (single((1234, 1234), (1234, 1234), setgroups=False),)


def test_explicit_maps() -> None:
    wanted = spec(user=User(uids=("0:5000:10", "1000:6000:1"), gids=("0:7000:2000",)))
    made = part(user, wanted)
    assert made is not None
    uids = (IdRange(0, 5000, 10), IdRange(1000, 6000, 1))
    assert made.actions == (SetMaps(maps=IdMaps(uids, (IdRange(0, 7000, 2000),), setgroups=True)),)
    assert made.steps[0] == steps.identity(0, 0, DROP)
    without_zero = spec(user=User(uids=("1000:6000:1",), gids=("1000:6000:1",)))
    made = part(user, without_zero)
    assert made is not None
    assert made.steps[0] == steps.identity(1000, 1000, KEEP)


def test_nested_namespaces_may_be_allowed() -> None:
    made = part(user, spec(user=User(nested=True)))
    assert made is not None
    assert UNNESTED not in made.steps
    assert len(made.steps) == 1


def test_where_mounts_are_joined_the_callers_proc_is_used() -> None:
    made = part(user, spec(mnt=Mnt(mode="pid:1")))
    assert made is not None
    _, folder, opened, written = made.steps
    assert (folder.phase, folder.args[1], folder.args[2]) == (Phase.JOIN, "/proc/sys/user", os.O_PATH | os.O_DIRECTORY)
    assert (opened.phase, opened.args[1]) == (Phase.IDENTITY, "max_user_namespaces")
    assert written.text == "write '0' to max_user_namespaces"
    assert UNNESTED not in made.steps


@pytest.mark.parametrize(
    ("host", "become"), [(ROOT, steps.identity(0, 0, DROP)), (USER, steps.identity(1234, 1234, KEEP))]
)
def test_a_joined_one_is_entered_as_whom_it_knows(host: Host, become: Any) -> None:
    made = part(user, spec(user=User(mode="pid:1")), host)
    assert made is not None
    setns, after = made.steps
    assert setns == steps.setns(Slot("ns:user"), NEW, text="join the user namespace of pid 1", rank=-50)
    assert after == become
    assert not made.flags


def test_without_one() -> None:
    assert part(user, spec(user=User(mode="off"))) == Part()


def test_a_program_that_joins_becomes_the_same() -> None:
    assert part(user, spec(), purpose="exec") == Part(steps=(steps.identity(0, 0, DROP),))


# ---- problems ----


@pytest.mark.parametrize("text", ["1", "a:b:c", "0:0:0", "1:2:3:4", ""])
def test_a_range_that_is_none(text: str) -> None:
    wanted = spec(user=User(uids=(text,), gids=("0:5000:1",)))
    expected = [Problem("$.user.uids", f"not an id range: {text}", "write INSIDE:OUTSIDE:COUNT")]
    assert problems(user, wanted) == expected


def test_one_map_without_the_other() -> None:
    expected = [Problem("$.user", "uids and gids are mapped together", "give both maps")]
    assert problems(user, spec(user=User(uids=("0:5000:1",)))) == expected


def test_a_range_without_subordinate_ids() -> None:
    (problem,) = problems(user, spec(user=User(map="range")), USER)
    assert problem.path == "$.user.map"
    assert problem.message == "this user has no range in /etc/subuid and /etc/subgid"
    assert problems(user, spec(user=User(map="range")), SUBIDS) == []


def test_a_range_without_the_helpers() -> None:
    expected = [
        Problem(
            "$.user.map",
            "newuidmap and newgidmap, which write such maps, are not installed",
            "install them (Debian package uidmap), or set user.map to single",
        )
    ]
    assert problems(user, spec(user=User(map="range")), SUBIDS.replace(newuidmap=False)) == expected


def test_a_map_of_nothing() -> None:
    expected = [
        Problem("$.user.map", "there is no user namespace to map", "leave out map, or set user.mode to on"),
    ]
    assert problems(user, spec(user=User(mode="off", map="single"))) == expected


def test_without_one_an_ordinary_user_has_no_other() -> None:
    off = {"mnt": Mnt(mode="off"), "pid": Pid(mode="off"), "uts": Uts(mode="off"), "ipc": Ipc(mode="off")}
    wanted = spec(user=User(mode="off"), **off)
    assert problems(user, wanted, USER) == [
        Problem(
            "$.user.mode",
            "without a user namespace an ordinary user can make no other: net, cgroupns",
            "set user.mode to on, or the modes of the others to off",
        )
    ]
    none = wanted.replace(net=Net(mode="host"), cgroupns=Cgroupns(mode="off"))
    assert problems(user, none, USER) == []
    assert problems(user, wanted, ROOT) == []


def test_one_that_cannot_be_had() -> None:
    (problem,) = problems(user, spec(), NO_USER_NAMESPACE)
    assert problem.message == "this kernel or user cannot have a new user namespace"


# ---- doctor, options ----


def test_doctor() -> None:
    yes = Line(topic="user namespace", state="yes", detail="can be made")
    detail = "each sandbox has 65536 host ids of its own"
    assert list(user.nsjail_doctor(host=ROOT)) == [yes, Line(topic="id ranges", state="yes", detail=detail)]
    detail = "/etc/subuid and /etc/subgid have ranges of this user"
    assert list(user.nsjail_doctor(host=SUBIDS)) == [yes, Line(topic="id ranges", state="yes", detail=detail)]
    (_, line) = user.nsjail_doctor(host=USER)
    assert (line.state, line.detail) == ("part", "one id only: this user has no range in /etc/subuid")
    assert line.remedy is not None


def test_options() -> None:
    kind, uids, gids = user.nsjail_options()
    assert kind.fill("keep") == {"user": {"map": "keep"}}
    assert uids.fill("0:5000:1") == {"user": {"uids": ["0:5000:1"]}}
    assert gids.fill("0:5000:1") == {"user": {"gids": ["0:5000:1"]}}
    with pytest.raises(ValueError, match="not an id range: 5"):
        uids.fill("5")


def test_ranges_are_read_as_they_are_written() -> None:
    assert parse_ranges(("0:5000:10",)) == (IdRange(0, 5000, 10),)


# ---- groups that stay ----


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the groups docker (50) and adm (4), and no others that are powerful."""
    import grp

    def getgrnam(name: str) -> SimpleNamespace:
        return SimpleNamespace(gr_gid={"docker": 50, "adm": 4}[name])

    monkeypatch.setattr(grp, "getgrnam", getgrnam)


MEMBER = USER.replace(groups=[1234, 50, 7])


def test_who_is_in_no_further_group_is_not_asked_about_any() -> None:
    made = part(user, spec(), USER.replace(groups=[1234]))
    assert made is not None
    assert len(made.actions) == 1


@pytest.mark.usefixtures("docker")
def test_a_powerful_group_that_stays_is_a_warning() -> None:
    made = part(user, spec(), MEMBER)
    assert made is not None
    assert made.actions[1] == WarnOfGroups(gids=(50, 7))
    launch = Launch(MEMBER)
    made.actions[1].run(launch)
    assert launch.warnings == ["user: the group docker cannot be dropped by an ordinary user with a single id"]
    launch = Launch(MEMBER)
    WarnOfGroups(gids=(7,)).run(launch)
    assert launch.warnings == []


@pytest.mark.parametrize("host", [ROOT.replace(groups=[50]), SUBIDS.replace(groups=[50])], ids=["root", "range"])
def test_where_groups_are_dropped_there_is_nothing_to_say(host: Host) -> None:
    made = part(user, spec(user=User(map="range")), host)
    assert made is not None
    assert not [action for action in made.actions if isinstance(action, WarnOfGroups)]


@pytest.mark.usefixtures("docker")
def test_doctor_names_them() -> None:
    lines = list(user.nsjail_doctor(host=MEMBER.replace(groups=[4, 50])))
    assert lines[-1] == Line(
        topic="groups",
        state="part",
        detail="the groups adm, docker cannot be dropped by an ordinary user with a single id",
        remedy="set user.map to range (needs lines in /etc/subuid), or start it as a user who is not in them",
    )


# ---- host ranges ----


@pytest.fixture
def lock(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lock file of this test's own."""
    spare: list[tuple[int, int, int]] = []
    monkeypatch.setattr(ranges, "state_directory", lambda: str(tmp_path))
    monkeypatch.setattr(ranges, "_spare", spare)
    yield
    for _, _, held in spare:
        os.close(held)


@pytest.mark.usefixtures("lock")
def test_a_range_is_taken_once_and_free_again() -> None:
    first, first_lock = ranges.take(65536)
    second, second_lock = ranges.take(10)
    assert first != second
    assert {first % ranges.WIDTH, second % ranges.WIDTH} == {0}
    ranges.give_back(first, first_lock)
    again, again_lock = ranges.take(65536)
    assert again == first
    for each, held in ((again, again_lock), (second, second_lock)):
        ranges.give_back(each, held)


@pytest.mark.usefixtures("lock")
def test_a_range_that_somebody_still_holds_is_not_given_out() -> None:
    kept, keeping = ranges.take(1)
    first, held = ranges.take(1)
    init = os.dup(held)  # as the stage has it: the same open file
    ranges.give_back(kept, keeping)
    ranges.give_back(first, held)
    taken = [ranges.take(1), ranges.take(1)]
    assert taken[0][0] == kept
    assert taken[1][0] not in (kept, first)
    os.close(init)
    for each in taken:
        ranges.give_back(*each)


@pytest.mark.usefixtures("lock")
def test_a_forked_child_takes_another_than_its_parent_keeps() -> None:
    kept, keeping = ranges.take(1)
    ranges.give_back(kept, keeping)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(ranges.take(1)[0]).encode())
        os._exit(0)
    os.close(write)
    with open(read) as answer:
        assert int(answer.read()) != kept
    os.waitpid(child, 0)


@pytest.mark.usefixtures("lock")
def test_ranges_of_accounts_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = [(ranges.FIRST, ranges.COUNT * ranges.WIDTH)]
    monkeypatch.setattr(ranges, "_accounts", lambda: everything)
    first, held = ranges.take(1)
    assert first >= ranges.HIGH_FIRST
    ranges.give_back(first, held)


@pytest.mark.usefixtures("lock")
def test_when_all_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_accounts", lambda: [(0, 2**32)])
    with pytest.raises(OSError, match="every range of host ids is taken by a running sandbox") as caught:
        ranges.take(1)
    assert caught.value.errno == 87


def test_a_range_has_a_width() -> None:
    with pytest.raises(OSError, match="a range has 65536 ids, not 65537; give uids and gids instead"):
        ranges.take(65537)
