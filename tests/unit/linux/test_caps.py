"""Capability sets and their names; what changes them runs in processes of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nsjail_py.linux import caps, procfs
from nsjail_py.linux import constants as c


def test_names_and_masks() -> None:
    assert caps.mask(["chown", "CAP_SYS_ADMIN", "cap_bpf"]) == 1 << c.CAP_CHOWN | 1 << c.CAP_SYS_ADMIN | 1 << c.CAP_BPF
    assert caps.names(caps.mask(caps.NUMBERS)) == sorted(caps.NUMBERS, key=lambda name: caps.NUMBERS[name])
    assert caps.names(1 << 63 | 1) == ["chown", "63"]


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="there is no capability fly"):
        caps.mask(["fly"])


def test_the_sets_are_those_that_proc_shows() -> None:
    status, sets = procfs.status(), caps.capget()
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")] == [
        sets.effective,
        sets.permitted,
        sets.inheritable,
        caps.bounding(),
        caps.ambient(),
    ]


def test_the_sets_of_no_process() -> None:
    with pytest.raises(ProcessLookupError, match="capget: No such process"):
        caps.capget(2**22 + 1)


def test_sets_are_changed(inside: Callable[[str], str]) -> None:
    inside(
        """
kill, admin = caps.mask(["kill"]), caps.mask(["sys_admin"])
caps.capset(caps.CapSets(kill | admin, kill | admin | caps.mask(["setpcap"]), kill))
assert caps.capget() == caps.CapSets(kill | admin, kill | admin | caps.mask(["setpcap"]), kill)
caps.set_ambient(kill)
assert caps.ambient() == kill
assert "PR_CAP_AMBIENT_RAISE" in raises(errno.EPERM, caps.set_ambient, admin)
raises(errno.EPERM, caps.capset, caps.CapSets(kill, kill | caps.mask(["chown"]), 0))
raises(errno.EPERM, caps.drop_bounding, admin)
caps.capset(caps.CapSets(caps.mask(["setpcap"]), caps.mask(["setpcap"]), 0))
caps.drop_bounding(admin | kill)
assert not caps.bounding() & (admin | kill) and caps.bounding() & caps.mask(["chown"])
"""
    )


def test_the_last_capability_of_the_kernel_has_a_name_or_is_newer() -> None:
    assert caps.last() >= c.CAP_SETFCAP
    assert caps.NUMBERS["checkpoint_restore"] == c.CAP_CHECKPOINT_RESTORE == max(caps.NUMBERS.values())
