"""Every opcode of the contract has a success and a failure here; one that has not fails its test by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stage import cases_control, cases_fs, cases_mounts, cases_namespaces, cases_process
from tests.stage.blob import OPCODES
from tests.stage.running import Launcher

pytestmark = pytest.mark.root

TABLES = (cases_control, cases_fs, cases_mounts, cases_namespaces, cases_process)
PASSING = {name: case for table in TABLES for name, case in table.PASSING.items()}
FAILING = {name: case for table in TABLES for name, case in table.FAILING.items()}

BESIDES = (
    cases_mounts.mask_under_a_umask,
    cases_mounts.set_attr_maps_ids,
    cases_namespaces.identity_keeps,
    cases_process.seccomp_reports_listener,
)


@pytest.mark.parametrize("opcode", OPCODES)
def test_passes(opcode: str, launcher: Launcher, tmp_path: Path) -> None:
    PASSING[opcode](launcher, tmp_path)


@pytest.mark.parametrize("opcode", OPCODES)
def test_fails(opcode: str, launcher: Launcher, tmp_path: Path) -> None:
    FAILING[opcode](launcher, tmp_path)


@pytest.mark.parametrize("case", BESIDES)
def test_besides(case: cases_process.Case, launcher: Launcher, tmp_path: Path) -> None:
    case(launcher, tmp_path)


def test_no_case_without_opcode() -> None:
    assert PASSING.keys() == FAILING.keys() == OPCODES.keys()
    assert len({number for number, _ in OPCODES.values()}) == len(OPCODES)
