"""What is in the wheel and in the source distribution."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from nsjail_py.version import __version__
from tests.packaging.building import SOURCES, build

pytestmark = pytest.mark.slow


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path, name: str) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"nsjail_py-{__version__}.dist-info/{name}").decode())


def modules(root: Path, package: str) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in (root / package).rglob("*")
        if path.suffix in (".py", ".pyi", ".toml", ".typed") and "__pycache__" not in path.parts
    }


def test_one_wheel_serves_all_versions_of_python(wheel: Path) -> None:
    assert re.fullmatch(rf"nsjail_py-{re.escape(__version__)}-cp311-abi3-linux_\w+\.whl", wheel.name)
    assert "nsjail_py/_native.abi3.so" in names(wheel)
    assert metadata(wheel, "WHEEL")["Root-Is-Purelib"] == "false"


def test_all_modules_are_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    expected = modules(SOURCES, "nsjail_py") | modules(SOURCES / "plugins", "nsjail_py_plugins")
    found = {name for name in names(wheel) if ".dist-info/" not in name and ".data/" not in name}
    assert found == expected | {"nsjail_py/_native.abi3.so", "nsjail_py/_stage"}
    assert "nsjail_py/linux/constants.pyi" in found
    assert "nsjail_py/py.typed" in found


def test_the_stage_can_be_executed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entry = archive.getinfo("nsjail_py/_stage")
        program = archive.read(entry)
    assert entry.external_attr >> 16 & 0o111 == 0o111
    assert stat.S_ISREG(entry.external_attr >> 16)
    assert program.startswith(b"\x7fELF")
    assert b"ld-linux" not in program  # it is static


def test_the_command_has_one_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        script = archive.read(f"nsjail_py-{__version__}.data/scripts/nsjail-py").decode()
    assert script.startswith("#!python\n")
    assert len(re.findall(r"^(?:import|from) ", script, re.M)) == 1


def test_metadata(wheel: Path) -> None:
    found = metadata(wheel, "METADATA")
    assert (found["Name"], found["Version"], found["Requires-Python"]) == ("nsjail_py", __version__, ">=3.11")
    needs = {re.split(r"[ >=;]", need)[0] for need in found.get_all("Requires-Dist") or [] if "extra" not in need}
    assert needs == {"cffi", "pluggy", "msgspec", "pyroute2", "psutil", "rich"}
    assert set(found.get_all("Provides-Extra") or []) == {"test", "dev"}


def test_it_runs_on_old_distributions(wheel: Path) -> None:
    tool = shutil.which("auditwheel", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
    if tool is None:
        pytest.skip("auditwheel is not installed: pip install .[dev]")
    shown = subprocess.run([tool, "show", wheel], capture_output=True, text=True, check=True).stdout
    found = re.search(r'"manylinux_(\d+)_(\d+)_', shown)
    assert found, shown
    assert (int(found[1]), int(found[2])) <= (2, 28)


def test_the_source_distribution_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    # not tarfile: Python 3.11.2, which Debian 12 has, knows no filter, and later ones warn of none
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.glob("nsjail_py-*")
    for needed in ("cffi_build/build_native.py", "cffi_build/csrc/contract.h", "tests/conftest.py", "LICENSE"):
        assert (unpacked / needed).exists(), needed
    again = build(unpacked, "wheel", tmp_path / "dist")
    assert again.name == wheel.name
    assert names(again) == names(wheel)
