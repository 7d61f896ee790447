"""The build itself: the command line, a static program that needs nothing, and both compilers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cffi_build import build_stage

SCRIPT = Path(build_stage.__file__)


def sections(path: Path) -> str:
    return subprocess.run(["readelf", "-Wa", path], check=True, capture_output=True, text=True).stdout


def test_command_line_builds_a_program_that_needs_nothing(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "stage"
    subprocess.run([sys.executable, SCRIPT, out], check=True)
    headers = sections(out)
    assert "INTERP" not in headers, "static"
    assert "DYNAMIC" not in headers
    assert "There are no relocations" in headers
    assert "GNU_STACK" not in headers or "RWE" not in headers, "no executable stack"
    assert ".symtab" not in headers, "stripped"
    assert out.stat().st_size < 64 << 10


@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang")
def test_clang_builds_it_too(tmp_path: Path) -> None:
    build_stage.build(tmp_path / "stage", cc="clang")


def test_compiler_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -c 'import sys; sys.exit(3)'")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        build_stage.build(tmp_path / "stage")
    assert failure.value.returncode == 3


def test_every_source_is_built() -> None:
    assert set(build_stage.SOURCES) == set(build_stage.STAGE.glob("*.c"))


def test_formatted() -> None:
    if not shutil.which("clang-format"):
        pytest.skip("needs clang-format")
    files = [*build_stage.STAGE.rglob("*.[ch]"), *Path(__file__).parent.glob("*.c")]
    subprocess.run(["clang-format", "--dry-run", "-Werror", "--style=file", *files], check=True)


def test_links_into_an_extension(tmp_path: Path) -> None:
    """All but the start and what libc brings: position-independent, and in need of nothing undefined."""
    sources = [source for source in build_stage.SOURCES if source.stem not in ("main", "mem")]
    flags = ["-std=c11", "-Os", "-fPIC", "-shared", "-Wl,-z,defs", *build_stage.WARNINGS]
    subprocess.run([*build_stage.compiler(), *flags, *sources, "-o", tmp_path / "library.so"], check=True)
