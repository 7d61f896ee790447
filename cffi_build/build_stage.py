"""Build the stage: the freestanding static program that carries out a plan.

Used by setup.py as a module (``build``) and by hand as a script::

    python cffi_build/build_stage.py OUT [--cc COMPILER] [--sanitize | --fuzz]

``--sanitize`` and ``--fuzz`` build the verifier alone, against the host's libc, for files of blobs and for libFuzzer.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

STAGE = Path(__file__).resolve().parent / "csrc" / "stage"

SOURCES = tuple(
    STAGE / f"{name}.c"
    for name in (
        "main", "mem", "verify", "run", "report", "gate", "path",
        "ops_fs", "ops_mount", "ops_ns", "ops_process", "exec", "init", "fork", "guard",
    )
)  # fmt: skip

WARNINGS = (
    "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
    "-Wswitch-enum", "-Wformat=2", "-Wvla", "-Wframe-larger-than=8192",
)  # fmt: skip

# No stack protector: its canary lives in a thread block that is never set up.
FREESTANDING = (
    "-std=c11", "-Os", "-ffreestanding", "-nostdlib", "-static", "-fno-pie",
    "-fno-stack-protector", "-fno-asynchronous-unwind-tables",
)  # fmt: skip

LINK = ("-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,-s")


def compiler() -> list[str]:
    """Return the C compiler as an argument list: ``$CC``, else ``cc``."""
    return shlex.split(os.environ.get("CC", "cc"))


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run([os.fspath(word) for word in command], check=True)


def build(out_path: str | Path, cc: str | Sequence[str] | None = None, cflags: Sequence[str] = ()) -> Path:
    """Compile and link the stage.

    :param out_path: where the executable goes; its directory is made.
    :param cc: the compiler, a command line or an argument list; by default ``$CC`` or ``cc``.
    :param cflags: further compiler arguments, after the project's own.
    :returns: the path of the executable.
    :raises subprocess.CalledProcessError: the compiler failed.
    """
    out = Path(out_path)
    out.parent.mkdir(parents=True, exist_ok=True)
    command = compiler() if cc is None else shlex.split(cc) if isinstance(cc, str) else list(cc)
    _run([*command, *FREESTANDING, *WARNINGS, *cflags, *SOURCES, *LINK, "-o", out])
    return out


def build_verifier(out_path: str | Path, *, fuzz: bool, cc: str | None = None) -> Path:
    """Compile the verifier against the host's libc, with the address and undefined-behaviour sanitizers.

    :param out_path: where the executable goes.
    :param fuzz: link the libFuzzer harness (needs clang); otherwise the driver that reads files of blobs.
    :param cc: the compiler, a command line; by default clang for the fuzzer, ``$CC`` or ``cc`` for the driver.
    :returns: the path of the executable.
    :raises subprocess.CalledProcessError: the compiler failed.
    """
    command = shlex.split(cc) if cc else ["clang"] if fuzz else compiler()
    sanitizers = "address,undefined,fuzzer" if fuzz else "address,undefined"
    driver = STAGE / "fuzz" / ("fuzz_verify.c" if fuzz else "check_files.c")
    flags = ["-std=c11", "-g", "-O1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", *WARNINGS]
    _run([*command, *flags, STAGE / "verify.c", driver, "-o", out_path])
    return Path(out_path)


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description="Build the stage, or its verifier alone.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cc", help="the compiler, e.g. aarch64-linux-gnu-gcc")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--sanitize", action="store_true", help="the verifier with ASan and UBSan, reading files")
    kind.add_argument("--fuzz", action="store_true", help="the verifier under libFuzzer")
    options = parser.parse_args()
    if options.sanitize or options.fuzz:
        build_verifier(options.out, fuzz=options.fuzz, cc=options.cc)
    else:
        build(options.out, cc=options.cc)


if __name__ == "__main__":
    main()
