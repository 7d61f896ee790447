"""Blobs that are not exactly what the contract says are refused, before anything in them is acted on.

The verifier is loaded as a library, so that many thousands of blobs can be tried; what the stage makes of a refusal
is shown with one blob for each reason.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cffi_build.build_stage import build_verifier, compiler
from tests.stage.blob import HEADER, OPCODES, STEP, Out, Slot, Step, const, encode, sealed, step
from tests.stage.conftest import once
from tests.stage.kernel import refusing
from tests.stage.running import STREAMS, Launcher, descriptors, execute, shell

SOURCE = Path(__file__).resolve().parents[2] / "cffi_build" / "csrc" / "stage" / "verify.c"

Verify = Callable[[bytes], tuple[int, int]]

VALID: list[Step] = [
    step("OPEN", None, "/etc/hostname", os.O_RDONLY, 0, Out(10)),
    step("NEW_FS", "tmpfs", ["size=1m", "ro"], 0, Out(11)),
    step("GATE", const("GATE_CREATED"), 12, 3),
    step("SET_ATTR", Slot(12), None, 1, 0, 0, 0, None),
    step("GROUPS", struct.pack("=2I", 1, 2)),
    step("SYSCALL", 1, Slot(14), "text", b"data", 7, Out(15)),
    STREAMS,
    step("SECCOMP", refusing("prctl", 1), 0, None),
    execute("/bin/true"),
]


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Verify:
    """``verify(blob)`` gives (enum nsj_bad, step)."""
    flags = ["-shared", "-fPIC", "-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    library = once(
        tmp_path_factory,
        "verify.so",
        lambda out: subprocess.run([*compiler(), "-std=c11", *flags, SOURCE, "-o", out], check=True),
    )
    function = ctypes.CDLL(str(library)).nsj_verify
    function.restype = ctypes.c_bool

    def call(blob: bytes) -> tuple[int, int]:
        memory = (ctypes.c_uint64 * (len(blob) // 8 + 1)).from_buffer_copy(blob.ljust(len(blob) // 8 * 8 + 8, b"\0"))
        flow, verdict = ctypes.create_string_buffer(1024), (ctypes.c_uint32 * 2)()
        accepted = function(memory, ctypes.c_uint64(len(blob)), flow, verdict)
        assert accepted == (verdict[0] == 0)
        return verdict[0], verdict[1]

    return call


def with_header(**fields: int) -> bytes:
    """The valid blob with fields of its header changed."""
    names = ("magic", "version", "flags", "length", "nsteps", "pool", "nslots", "nbirth", "reserved0", "reserved1")
    blob = encode(VALID)
    values = dict(zip(names, HEADER.unpack_from(blob), strict=True)) | fields
    return HEADER.pack(*values.values()) + blob[HEADER.size :]


def with_step(index: int, word: int, value: int) -> bytes:
    """The valid blob with one field of one step changed: 0 op, 1 flags, 2 kinds, 3... arguments."""
    blob = bytearray(encode(VALID))
    offset = HEADER.size + index * STEP.size
    fields = list(STEP.unpack_from(blob, offset))
    fields[word] = value
    STEP.pack_into(blob, offset, *fields)
    return bytes(blob)


def cut(steps: list[Step], *, pool: bytes) -> bytes:
    """A blob with the pool replaced, its offsets as they were."""
    blob = encode(steps)
    start = HEADER.size + len(steps) * STEP.size
    return HEADER.pack(*HEADER.unpack_from(blob)[:3], start + len(pool), *HEADER.unpack_from(blob)[4:]) + (
        blob[HEADER.size : start] + pool
    )


def plan(*steps: Step, end: bool = True) -> bytes:
    return encode([*steps, *(shell(":") if end else [])])


def listing(count: int, *offsets: int) -> bytes:
    """A pool that is one list of strings."""
    return struct.pack(f"={1 + len(offsets)}Q", count, *offsets)


def twice(pool: bytes) -> bytes:
    """A blob whose first two steps both name the list at the start of the pool."""
    blob = bytearray(cut([step("MASK", []), step("MASK", []), *shell(":")], pool=pool))
    struct.pack_into("=Q", blob, HEADER.size + STEP.size + 8, 0)
    return bytes(blob)


MASK = [step("MASK", []), *shell(":")]
EXEC_TWICE = [STREAMS, execute("/bin/true"), execute("/bin/true")]

#: what -> (blob, reason, step)
REFUSED: dict[str, tuple[bytes, str, int]] = {
    "empty": (b"", "SIZE", 0),
    "shorter than a header": (encode(VALID)[: HEADER.size - 1], "SIZE", 0),
    "length too small": (with_header(length=HEADER.size), "SIZE", 0),
    "length too large": (with_header(length=1 << 31), "SIZE", 0),
    "something after the blob": (encode(VALID) + b"\0", "SIZE", 0),
    "magic": (with_header(magic=0), "MAGIC", 0),
    "version": (with_header(version=2), "VERSION", 0),
    "unknown header flag": (with_header(flags=8), "FLAGS", 0),
    "reserved word": (with_header(reserved1=1), "VALUE", 0),
    "no steps": (with_header(nsteps=0), "COUNT", 0),
    "too many steps": (with_header(nsteps=1025), "COUNT", 0),
    "too many slots": (with_header(nslots=513), "COUNT", 0),
    "more born than there are slots": (with_header(nbirth=65), "COUNT", 0),
    "no slot for the plan": (with_header(nbirth=1), "COUNT", 0),
    "owned without an owner": (with_header(flags=2, nbirth=2), "COUNT", 0),
    "pool inside the steps": (with_header(pool=HEADER.size + 8), "OFFSET", 0),
    "pool past the end": (with_header(pool=1 << 20), "OFFSET", 0),
    "pool not aligned": (with_header(pool=HEADER.size + len(VALID) * STEP.size + 4), "OFFSET", 0),
    "unknown opcode": (with_step(0, 0, 95), "OPCODE", 0),
    "opcode past the table": (with_step(0, 0, 65535), "OPCODE", 0),
    "opcode zero": (with_step(0, 0, 0), "OPCODE", 0),
    "unknown step flag": (with_step(0, 1, 2), "FLAGS", 0),
    "trying a gate": (with_step(2, 1, 1), "FLAGS", 2),
    "trying the exec": (with_step(8, 1, 1), "FLAGS", 8),
    "wrong kind": (with_step(0, 2, 0x61121), "KIND", 0),
    "unknown kind": (with_step(0, 2, 0x6112F), "KIND", 0),
    "kind for an eighth argument": (with_step(0, 2, 0x10061120), "KIND", 0),
    "value without a kind": (with_step(0, 9, 1), "VALUE", 0),
    "missing argument": (plan(step("HOSTNAME")), "KIND", 0),
    "argument too many": (plan(step("HOSTNAME", "x", 1)), "KIND", 0),
    "syscall without a number": (plan(step("SYSCALL", "x")), "KIND", 0),
    "syscall with a hole": (plan(step("SYSCALL", 1, None, 1)), "KIND", 0),
    "syscall with a list": (plan(step("SYSCALL", 1, ["x"])), "KIND", 0),
    "syscall with a result before the end": (plan(step("SYSCALL", 1, Out(20), 1)), "KIND", 0),
    "string past the pool": (with_step(0, 4, 1 << 40), "STRING", 0),
    "string without an end": (cut([step("HOSTNAME", "x"), *shell(":")], pool=b"xxxx"), "STRING", 0),
    "data past the pool": (with_step(4, 3, 1 << 40), "OFFSET", 4),
    "data not aligned": (with_step(4, 3, 4), "OFFSET", 4),
    "data longer than the pool": (cut([step("GROUPS", b"")], pool=struct.pack("=Q", 1 << 63)), "OFFSET", 0),
    "list longer than the pool": (cut(MASK, pool=listing(1 << 61, 0)), "OFFSET", 0),
    "list without its end": (cut(MASK, pool=listing(1, 0)), "OFFSET", 0),
    "list with an offset outside": (cut(MASK, pool=listing(1, 999, 0)), "STRING", 0),
    "list not terminated": (cut(MASK, pool=listing(1, 8, 7)), "STRING", 0),
    "more list entries than the pool has room for": (
        twice(listing(3, 0, 0, 0, 0)), "OFFSET", 1,
    ),
    "reading an empty slot": (with_step(3, 3, 20), "SLOT", 3),
    "reading the report socket": (with_step(3, 3, const("SLOT_REPORT")), "SLOT", 3),
    "reading a slot that does not exist": (with_step(3, 3, 64), "SLOT", 3),
    "filling a slot twice": (with_step(1, 6, 10), "SLOT", 1),
    "filling the owner's slot": (with_step(1, 6, const("SLOT_OWNER")), "SLOT", 1),
    "reading a closed slot": (plan(step("CLOSE", Slot(3)), step("CLOSE", Slot(3))), "SLOT", 1),
    "a gate filling a filled slot": (plan(step("GATE", 1, 3, 1)), "SLOT", 0),
    "a gate filling what wraps around": (plan(step("GATE", 1, (1 << 64) - 1, 2)), "SLOT", 0),
    "a gate without a name": (plan(step("GATE", 5, 0, 0)), "VALUE", 0),
    "a gate for more than a message holds": (plan(step("GATE", 1, 10, 251)), "VALUE", 0),
    "a slot whose number is the payload's": (
        encode([descriptors((3, 0), (4, 1), (5, 2), (3, 84)), step("OPEN", None, "/", 0, 0, Out(20)),
                execute("/bin/true")]), "SLOT", 1,
    ),
    "reading under the payload's number": (
        encode([descriptors((3, 0), (4, 1), (5, 2), (5, 67)), step("CLOSE", Slot(3)), execute("/bin/true")]),
        "SLOT", 1,
    ),
    "no standard error": (encode([descriptors((3, 0), (4, 1), (5, 3)), execute("/bin/true")]), "VALUE", 0),
    "descriptors out of order": (
        encode([descriptors((3, 0), (4, 1), (5, 2), (5, 9), (5, 8)), execute("/bin/true")]), "VALUE", 0,
    ),
    "a descriptor that nobody can have": (
        encode([descriptors((3, 0), (4, 1), (5, 2), (5, 1 << 20)), execute("/bin/true")]), "VALUE", 0,
    ),
    "a descriptor from nowhere": (encode([descriptors((3, 0), (-4, 1), (5, 2)), execute("/bin/true")]), "SLOT", 0),
    "exec twice": (encode(EXEC_TWICE), "ORDER", 1),
    "no exec": (encode([step("SETSID")]), "ORDER", 0),
    "an end at a gate that takes no suffix": (encode([step("GATE", 1, 0, 0)]), "ORDER", 0),
    "exec without descriptors": (encode([execute("/bin/true")]), "ORDER", 0),
    "descriptors twice": (encode([STREAMS, STREAMS, execute("/bin/true")]), "ORDER", 1),
    "pivot twice": (plan(step("PIVOT", Slot(3)), step("PIVOT", Slot(3))), "ORDER", 1),
    "init twice": (plan(step("INIT", 0, None), step("INIT", 0, None)), "ORDER", 1),
    "init at the end": (plan(step("INIT", 0, None), end=False), "ORDER", 0),
    "fork twice": (plan(step("FORK"), step("FORK")), "ORDER", 1),
    "fork after init": (plan(step("INIT", 0, None), step("FORK")), "ORDER", 1),
    "dumpable again beside init": (plan(step("INIT", 0, None), step("DUMPABLE", 1)), "ORDER", 1),
    "exec in an entered process": (encode(shell(":"), flags=4), "ORDER", 1),
    "init in an entered process": (encode([step("INIT", 0, None), step("SETSID")], flags=4), "ORDER", 0),
    "a reaper that is pid 1": (plan(step("INIT", 2, None)), "VALUE", 0),
    "a uid for init where that is pid 1": (plan(step("INIT", 7 << 32, None)), "VALUE", 0),
    "no candidates": (encode([STREAMS, step("EXEC", [], ["x"], [])]), "VALUE", 1),
    "no argv": (encode([STREAMS, step("EXEC", ["/bin/true"], [], [])]), "VALUE", 1),
    "an id of more than 32 bits": (plan(step("IDS", 1 << 32, 0)), "VALUE", 0),
    "a mode with a file type": (plan(step("MKDIR", Slot(3), "x", 0o40755)), "VALUE", 0),
    "a filter of half an instruction": (plan(step("SECCOMP", bytes(12), 0, None)), "VALUE", 0),
    "an empty filter": (plan(step("SECCOMP", b"", 0, None)), "VALUE", 0),
    "a listener without its flag": (plan(step("SECCOMP", bytes(8), 0, Out(20))), "VALUE", 0),
    "a flag without its listener": (plan(step("SECCOMP", bytes(8), 8, None)), "VALUE", 0),
    "groups of odd size": (plan(step("GROUPS", bytes(6))), "VALUE", 0),
    "a target made without a root": (plan(step("ATTACH", None, Slot(3), "x", 1)), "VALUE", 0),
}  # fmt: skip


def test_valid(verify: Verify) -> None:
    assert verify(encode(VALID)) == (0, len(VALID) - 1)


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, verify: Verify) -> None:
    blob, reason, number = REFUSED[what]
    assert verify(blob) == (const(f"BAD_{reason}"), number)


def test_every_reason_is_tried() -> None:
    reasons = {const(f"BAD_{reason}") for _, reason, _ in REFUSED.values()}
    assert reasons == set(range(1, const("BAD_VALUE") + 1)), "BAD_SEAL, the last, is the stage's own"


def test_truncated_at_every_byte(verify: Verify) -> None:
    blob = encode(VALID)
    for size in range(len(blob)):
        assert verify(blob[:size])[0] == const("BAD_SIZE")
        if size >= HEADER.size:  # the same with a length that agrees
            fields = list(HEADER.unpack_from(blob))
            fields[3] = size
            assert verify(HEADER.pack(*fields) + blob[HEADER.size : size])[0]


def _arguments(blob: bytes) -> Iterator[tuple[int, int, int]]:
    """(opcode, kind, value) of every argument of a blob, read in Python."""
    for index in range(HEADER.unpack_from(blob)[4]):
        op, _, kinds, *values = STEP.unpack_from(blob, HEADER.size + index * STEP.size)
        for position, value in enumerate(values):
            yield op, kinds >> 4 * position & 15, value


def _assert_inside(blob: bytes) -> None:
    """An accepted blob has nothing that points outside of it. Written apart from the verifier."""
    _, _, _, length, _, start, nslots, *_ = HEADER.unpack_from(blob)
    assert length == len(blob)
    pool = blob[start:]
    known = {number for number, _ in OPCODES.values()}
    for op, kind, value in _arguments(blob):
        assert op in known
        if kind == const("STR"):
            pool.index(0, value)
        elif kind == const("DATA"):
            (size,) = struct.unpack_from("=Q", pool, value)
            assert value + 8 + size <= len(pool)
        elif kind == const("STRINGS"):
            (count,) = struct.unpack_from("=Q", pool, value)
            *offsets, end = struct.unpack_from(f"={count + 1}Q", pool, value + 8)
            assert end == 0
            for offset in offsets:
                pool.index(0, offset)
        elif kind in (const("SLOT"), const("OUT")):
            assert const("SLOT_FIRST") <= value < nslots
        else:
            assert kind in (const("NONE"), const("INT"))


def test_every_bit_flipped(verify: Verify) -> None:
    """Each flip is either refused or leaves a blob that points nowhere else."""
    blob = encode(VALID)
    refused = 0
    for bit in range(8 * len(blob)):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        if verify(bytes(flipped))[0]:
            refused += 1
        else:
            _assert_inside(bytes(flipped))
    assert refused > 8 * (HEADER.size + len(VALID) * STEP.size) // 2


WORDS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 80), st.sampled_from([2**31, 2**32, 2**63, 2**64 - 8]))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, (1 << 16) - 1), WORDS, st.sampled_from([1, 2, 4, 8])), min_size=1, max_size=6))
def test_mutations(verify: Verify, changes: list[tuple[int, int, int]]) -> None:
    blob = bytearray(encode(VALID))
    for position, value, width in changes:
        offset = position % (len(blob) - 8) // width * width
        blob[offset : offset + width] = value.to_bytes(8, "little")[:width]
    if not verify(bytes(blob))[0]:
        _assert_inside(bytes(blob))


def test_files_under_the_sanitizers(tmp_path: Path) -> None:
    """The driver that reads files, with everything that was refused above and each prefix of a valid blob."""
    driver = build_verifier(tmp_path / "check", fuzz=False)
    blobs = [blob for blob, _, _ in REFUSED.values()] + [encode(VALID)[:size] for size in range(0, 900, 7)]
    for number, blob in enumerate([*blobs, encode(VALID)]):
        (tmp_path / f"{number}.blob").write_bytes(blob)
    names = [str(tmp_path / f"{number}.blob") for number in range(len(blobs) + 1)]
    lines = subprocess.run([driver, *names], check=True, capture_output=True, text=True).stdout.splitlines()
    expected = [f"{const(f'BAD_{reason}')} {number}" for _, reason, number in REFUSED.values()]
    assert lines[: len(expected)] == expected
    assert all(not line.startswith("0 ") for line in lines[len(expected) : -1])
    assert lines[-1] == f"0 {len(VALID) - 1}"


@pytest.mark.skipif(not shutil.which("clang"), reason="libFuzzer comes with clang")
def test_fuzzer_finds_nothing(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, steps in enumerate(([*VALID], shell(":"), [step("GATE", const("GATE_READY"), 0, 0)])):
        (corpus / str(number)).write_bytes(encode(steps))
    fuzzer = build_verifier(tmp_path / "fuzz", fuzz=True)
    command = [str(fuzzer), "-runs=20000", "-seed=1", f"-artifact_prefix={tmp_path}/", str(corpus)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


# -- what the stage makes of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [name for name, (blob, *_) in REFUSED.items() if blob])
def test_stage_reports_a_refusal(what: str, launcher: Launcher) -> None:
    blob, reason, number = REFUSED[what]
    done = launcher.run(blob)
    (report,) = done.reports
    assert report.kind == const("REPORT_BAD_PLAN")
    assert (report.step, report.value[0]) == (number, const(f"BAD_{reason}"))
    assert (done.status, done.output) == (125, "")


def test_nothing_happens_before_the_whole_plan_is_checked(launcher: Launcher, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("untouched")
    effects = [step("WRITE_FILE", str(file), b"written"), step("GATE", const("GATE_CREATED"), 0, 0)]
    done = launcher.run(encode([*effects, STREAMS, step("EXEC", ["/bin/true"], [], [])]))
    assert [report.kind for report in done.reports] == [const("REPORT_BAD_PLAN")]
    assert file.read_text() == "untouched"
    launcher.run([effects[0], *shell(":")]).succeeded()
    assert file.read_text() == "writtened", "the same step does write where the plan is good"


@pytest.mark.parametrize("seals", [0, 0x0002 | 0x0004, 0x0008 | 0x0004, 0x0008 | 0x0002])
def test_stage_refuses_what_can_still_be_changed(seals: int, launcher: Launcher) -> None:
    done = launcher.run(shell("echo ran"), plan=sealed(encode(shell("echo ran")), seals=seals))
    assert [(report.kind, report.value[0]) for report in done.reports] == [
        (const("REPORT_BAD_PLAN"), const("BAD_SEAL"))
    ]


def test_stage_refuses_an_entered_plan(launcher: Launcher) -> None:
    done = launcher.run(encode([step("SETSID")], flags=const("ENTERED")))
    assert [(report.kind, report.value[0]) for report in done.reports] == [
        (const("REPORT_BAD_PLAN"), const("BAD_FLAGS"))
    ]


def test_stage_reports_a_plan_that_is_not_there(launcher: Launcher) -> None:
    done = launcher.run(shell("echo ran"), plan=os.open("/dev/null", os.O_RDONLY))
    done.failed(22, at="START")
