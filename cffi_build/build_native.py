"""Builds the extension `nsjail_py._native` (setup.py names it in `cffi_modules`).

cffi executes this file, it does not import it: siblings are found by `__file__`. The definitions that Python shares
with the stage are lifted out of contract.h and spawn.h, so that every number and layout is written once, in C.
"""

from __future__ import annotations

import os
import re

from cffi import FFI

HERE = os.path.dirname(os.path.abspath(__file__))
# setuptools wants paths relative to setup.py, which is where it runs.
CSRC = os.path.join(os.path.relpath(HERE), "csrc")

HEADERS = """
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include "sys_native.h"
#include "sys_numbers.h"
"""

# Asked of the headers where they know them, made of others where not.
DERIVED = """
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef PIDFD_NONBLOCK
#define PIDFD_NONBLOCK O_NONBLOCK
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
"""


def read(*parts: str) -> str:
    with open(os.path.join(HERE, *parts), encoding="utf-8") as file:
        return file.read()


def shared_definitions(header: str) -> str:
    """Everything of a contract header that Python needs, as cffi definitions.

    :param header: the text of the header
    :returns: its structs, and ``#define NAME ...`` for each macro with a value, each enumerator and each opcode
    """
    text = re.sub(r"//.*", "", header)
    numbers = re.findall(r"^#define (NSJ_\w+) (\d+)\s*$", text, re.M)
    names = re.findall(r"^#define (NSJ_\w+) \S+", text, re.M)
    names += re.findall(r"^\s+(NSJ_\w+) = \d+,", text, re.M)
    names += [f"NSJ_OP_{name}" for name in re.findall(r"\bX\((\w+), \d+, ", text)]
    structs = "\n".join(re.findall(r"^struct \w+ \{.*?^\};", text, re.M | re.S))
    for name, number in numbers:  # the sizes of arrays
        structs = structs.replace(f"[{name}]", f"[{number}]")
    return "\n".join(f"#define {name} ..." for name in names) + "\n" + structs


def fallbacks(cdef: str) -> str:
    """C that defines every constant that the cdef gives with its number and the headers lack."""
    constants = re.findall(r"^#define (\w+) (-?\w+)$", cdef, re.M)
    return "".join(f"#ifndef {name}\n#define {name} {value}\n#endif\n" for name, value in constants)


def definitions() -> str:
    """All that Python sees of C, as cffi definitions."""
    shared = [shared_definitions(read("csrc", header)) for header in ("contract.h", "spawn.h")]
    return "\n".join([*shared, read("native.cdef")])


def stub(cdef: str) -> str:
    """The text of ``nsjail_py/linux/constants.pyi``, from which type checkers learn the constants' names."""
    names = sorted(set(re.findall(r"^#define (\w+) ", cdef, re.M)))
    title = "# Printed by cffi_build/build_native.py; a test compares the two.\nfrom typing import Final\n\n"
    return title + "".join(f"{name}: Final[int]\n" for name in names)


def builder(cdef: str) -> FFI:
    """The configured cffi builder."""
    ffi = FFI()
    ffi.cdef(cdef)
    sources = ["spawn.c", "sys_native.c"]
    headers = sorted(name for name in os.listdir(os.path.join(HERE, "csrc")) if name.endswith(".h"))
    ffi.set_source(
        "nsjail_py._native",
        HEADERS + fallbacks(cdef) + DERIVED,
        sources=[os.path.join(CSRC, name) for name in sources],
        depends=[os.path.join(CSRC, name) for name in headers],
        include_dirs=[CSRC],
        define_macros=[("_GNU_SOURCE", None)],
        # The extension runs in the caller's process: hidden symbols, and no lazily bound one for a child to resolve.
        extra_compile_args=["-std=c11", "-fvisibility=hidden", "-fno-strict-aliasing"],
        extra_link_args=["-Wl,-z,now", "-Wl,-z,relro"],
        py_limited_api=True,
    )
    return ffi


ffibuilder = builder(definitions())

if __name__ == "__main__":
    print(stub(definitions()), end="")
