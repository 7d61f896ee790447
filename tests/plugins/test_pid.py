"""The pid plugin: who is pid 1, who watches the owner, who holds the id range."""

from __future__ import annotations

from typing import Any

import pytest

from nsjail_py.errors import Problem
from nsjail_py.plan.part import Part, Slot
from nsjail_py.plan.phases import Phase
from nsjail_py.plugin import constants, steps
from nsjail_py.plugin.sections import Pid, Process, User
from nsjail_py_plugins import pid
from tests.plugins.machines import NO_USER_NAMESPACE, ROOT, USER, part, problems, spec

RANGE = Slot("range")
OUTSIDE, REAPER = constants.NSJ_INIT_OUTSIDE, constants.NSJ_INIT_REAPER


def facts(**changes: Any) -> dict[str, Any]:
    return {"die_with_owner": True, "own_pids": True, "init": True, **changes}


def test_init_is_pid_1_and_holds_the_range() -> None:
    expected = Part(flags=constants.CLONE_NEWPID, steps=(steps.init(0, RANGE),), facts=facts())
    assert part(pid, spec()) == expected


@pytest.mark.parametrize(("host", "section"), [(USER, User()), (ROOT, User(map="single")), (ROOT, User(mode="off"))])
def test_where_there_is_no_range_nobody_holds_one(host: Any, section: User) -> None:
    expected = Part(flags=constants.CLONE_NEWPID, steps=(steps.init(0),), facts=facts())
    assert part(pid, spec(user=section), host) == expected


def test_a_payload_that_is_pid_1_is_watched_from_outside() -> None:
    watched = (
        steps.unshare(constants.CLONE_NEWPID, phase=Phase.IDENTITY, text="new pid namespace", rank=90),
        steps.fork(rank=91),
    )
    assert part(pid, spec(pid=Pid(init=False))) == Part(steps=watched, facts=facts(init=False))


def test_a_payload_that_may_outlive_its_owner_needs_no_watcher() -> None:
    wanted = spec(pid=Pid(init=False, die_with_owner=False), user=User(map="single"))
    assert part(pid, wanted) == Part(flags=constants.CLONE_NEWPID, facts=facts(init=False, die_with_owner=False))
    assert problems(pid, wanted) == []


def test_nobody_would_hold_the_range_of_such_a_payload() -> None:
    assert problems(pid, spec(pid=Pid(init=False, die_with_owner=False))) == [
        Problem(
            "$.pid.init",
            "without init nobody holds the sandbox's range of host ids once its owner has ended",
            "set pid.init or pid.die_with_owner to true, or user.map to single",
        )
    ]


def test_without_a_namespace_a_process_outside_reaps() -> None:
    expected = Part(steps=(steps.init(OUTSIDE | REAPER, RANGE, uid=65535),), facts=facts(own_pids=False))
    assert part(pid, spec(pid=Pid(mode="off"))) == expected


def test_one_that_cannot_be_had_is_replaced_by_a_reaper() -> None:
    made = part(pid, spec(pid=Pid(mode="try")), NO_USER_NAMESPACE)
    assert made is not None
    assert made.warnings == ("pid: no namespace of its own: this kernel or user cannot have one",)
    assert made.steps[0].args[0] == OUTSIDE | REAPER
    assert made.facts == facts(own_pids=False)


def test_a_joined_one_has_an_init_of_its_own() -> None:
    made = part(pid, spec(pid=Pid(mode="pid:1")))
    assert made is not None
    setns, init = made.steps
    assert (setns.op, setns.args[1]) == (constants.NSJ_OP_SETNS, constants.CLONE_NEWPID)
    assert init == steps.init(OUTSIDE, RANGE, uid=65535)
    assert len(made.actions) == 1


def test_one_more_program_in_it() -> None:
    made = part(pid, spec(), purpose="exec")
    assert made is not None
    assert made.steps == (steps.init(OUTSIDE),)
    assert not made.flags


@pytest.mark.parametrize(
    ("user", "payload", "uid"),
    [
        (User(), "0:0", 65535),
        (User(), "65535:0", 65534),
        (User(count=2), "0:0", 1),
        (User(count=1), "0:0", 0),
        (User(map="single"), "0:0", 0),
    ],
)
def test_an_init_that_can_be_seen_has_a_uid_of_its_own(user: User, payload: str, uid: int) -> None:
    wanted = spec(pid=Pid(mode="off"), user=user, process=Process(user=payload))
    made, entering = part(pid, wanted), part(pid, wanted, purpose="exec")
    assert made is not None
    assert entering is not None
    assert made.steps[-1].args[0] == OUTSIDE | REAPER | uid << constants.NSJ_INIT_UID_SHIFT
    assert entering.steps == (steps.init(OUTSIDE, uid=uid),)


@pytest.mark.parametrize("mode", ["off", "pid:1"])
def test_pid_1_needs_a_namespace_of_its_own(mode: str) -> None:
    text = "only the first process of a new pid namespace can be pid 1"
    assert problems(pid, spec(pid=Pid(mode=mode, init=False))) == [Problem("$.pid.init", text, "set pid.mode to on")]


def test_the_option() -> None:
    (option,) = pid.nsjail_options()
    assert (option.flag, option.metavar, option.fill(True)) == ("--no-init", None, {"pid": {"init": False}})
