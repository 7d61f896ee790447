"""Standard input and output, passed descriptors, and terminals: what the payload gets, and what it never gets."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

from nsjail_py import DEVNULL, PIPE, STDOUT, Sandbox, SpecError
from tests.system import script

#: Prints the descriptors of a shell that waits for the listing.
LIST = ["sh", "-c", "ls /proc/$$/fd; exit"]


def numbers(box: Sandbox, **streams: object) -> list[int]:
    result = box.run(LIST, stdout=PIPE, **streams)  # type: ignore[arg-type]
    assert isinstance(result.stdout, bytes)
    return sorted(map(int, result.stdout.split()))


# -- pipes --------------------------------------------------------------------------------------------------------


def test_each_stream_apart_and_together(box: Sandbox) -> None:
    argv = ["sh", "-c", "echo one; echo two >&2; echo three"]
    apart = box.run(argv, stdout=PIPE, stderr=PIPE, text=True)
    assert (apart.stdout, apart.stderr) == ("one\nthree\n", "two\n")
    together = box.run(argv, stdout=PIPE, stderr=STDOUT, text=True)
    assert (together.stdout, together.stderr) == ("one\ntwo\nthree\n", None)
    dropped = box.run(argv, stdout=DEVNULL, stderr=PIPE, text=True)
    assert (dropped.stdout, dropped.stderr) == (None, "two\n")


def test_fifty_megabytes_through_and_back(box: Sandbox) -> None:
    data = os.urandom(1 << 20) * 50
    result = box.run(["cat"], input=data, stdout=PIPE)
    assert result.ok
    assert hashlib.sha256(result.stdout).digest() == hashlib.sha256(data).digest()


def test_both_outputs_are_read_while_input_is_written(box: Sandbox) -> None:
    result = box.run(["sh", "-c", "tee /dev/stderr"], input=b"x" * 1_000_000, capture_output=True)
    assert (len(result.stdout), len(result.stderr)) == (1_000_000, 1_000_000)


@pytest.mark.parametrize("commands", ["exit 3", "exec 0<&-; exit 3", "head -c 10 >/dev/null; exit 3"])
def test_input_that_is_not_read_is_no_error(box: Sandbox, commands: str) -> None:
    assert box.run(["sh", "-c", commands], input=b"x" * 1_000_000).returncode == 3


def test_input_for_one_that_never_reads_and_never_ends(box: Sandbox) -> None:
    result = box.run(["sh", "-c", "echo here; exec sleep 1000"], input=b"x" * 1_000_000, stdout=PIPE, timeout=0.2)
    assert (str(result.reason), result.stdout) == ("timed out", b"here\n")


def test_no_input_is_an_end_of_input(box: Sandbox) -> None:
    assert box.run(["cat"], input=b"", stdout=PIPE).stdout == b""
    assert box.run(["cat"], stdin=PIPE, stdout=PIPE).stdout == b""
    assert box.run(["cat"], stdin=DEVNULL, stdout=PIPE).stdout == b""


# -- text ---------------------------------------------------------------------------------------------------------


def test_text_has_universal_newlines(box: Sandbox) -> None:
    result = box.run(["printf", r"a\r\nb\rc\n"], capture_output=True, text=True)
    assert result.stdout == "a\nb\nc\n"
    assert box.run(["printf", r"a\r\n"], capture_output=True).stdout == b"a\r\n"


def test_encoding_in_both_directions(box: Sandbox) -> None:
    result = box.run(["cat"], input="grün", capture_output=True, encoding="latin-1")
    assert result.stdout == "grün"
    assert box.run(["cat"], input="grün", stdout=PIPE).stdout == "grün".encode()


def test_errors_decides_about_what_is_not_text(box: Sandbox) -> None:
    with pytest.raises(UnicodeDecodeError):
        box.run(["printf", r"\377"], capture_output=True, text=True)
    assert box.run(["printf", r"\377"], capture_output=True, errors="replace").stdout == "�"


# -- files --------------------------------------------------------------------------------------------------------


def test_files_in_and_out(box: Sandbox, tmp_path: Path) -> None:
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_text("skipped\nread\n")
    with source.open("rb") as stdin, sink.open("wb") as stdout:
        os.lseek(stdin.fileno(), len("skipped\n"), os.SEEK_SET)
        box.run(["cat"], stdin=stdin, stdout=stdout)
        box.run(["echo", "more"], stdout=stdout)
    assert sink.read_text() == "read\nmore\n"


def test_a_file_without_a_name_is_fed_from_its_offset(box: Sandbox) -> None:
    with tempfile.TemporaryFile() as stdin:
        stdin.write(b"skipped read")
        stdin.seek(len("skipped "))
        assert box.run(["cat"], stdin=stdin, stdout=PIPE).stdout == b"read"
    memory = os.memfd_create("memory")
    try:
        os.write(memory, b"in memory")
        os.lseek(memory, 0, os.SEEK_SET)
        assert box.run(["cat"], stdin=memory, stdout=PIPE).stdout == b"in memory"
    finally:
        os.close(memory)


@pytest.mark.parametrize("named", [True, False], ids=["a file", "a file without a name"])
def test_stdin_cannot_be_written_to(box: Sandbox, tmp_path: Path, named: bool) -> None:
    """S47: nor through /proc, even where anybody may write to it and it was opened for writing too."""
    path = tmp_path / "input"
    path.write_text("precious")
    path.chmod(0o666)
    with path.open("r+b") as stdin:
        if not named:
            path.unlink()
        commands = "echo lost >&0; echo lost >/proc/self/fd/0; truncate -s 0 /proc/self/fd/0; exit 0"
        box.run(["sh", "-c", commands], stdin=stdin, stderr=DEVNULL)
        assert os.pread(stdin.fileno(), 100, 0) == b"precious"


def test_what_is_appended_to_cannot_be_overwritten(box: Sandbox, tmp_path: Path) -> None:
    """S47: the payload writes into a pipe; with the file it could take O_APPEND off."""
    log = tmp_path / "log"
    log.write_text("old\n")
    with log.open("ab") as stdout:
        commands = "[ -p /proc/self/fd/1 ] && [ -p /proc/self/fd/2 ] && echo one; echo two >&2; echo three"
        box.run(["sh", "-c", commands], stdout=stdout, stderr=stdout)
    assert log.read_text() == "old\none\ntwo\nthree\n"


def test_a_socket_is_passed_on(box: Sandbox) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        box.run(["echo", "hello"], stdout=theirs)
        assert ours.recv(100) == b"hello\n"


REFUSED = {
    "a directory": lambda path: os.open(path, os.O_RDONLY),
    "only the place of a file (O_PATH)": lambda path: os.open(path / "file", os.O_PATH),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr", "pass_fds"])
def test_descriptors_that_lead_out_are_refused(box: Sandbox, tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "file").touch()
    fd = REFUSED[kind](tmp_path)
    try:
        with pytest.raises(SpecError) as caught:
            box.run(["true"], **{name: [fd] if name == "pass_fds" else fd})  # type: ignore[arg-type]
    finally:
        os.close(fd)
    assert str(caught.value).splitlines() == [
        f"$.{name}: descriptor {fd} is {kind}, which no payload is given",
        "hint: bind it into the sandbox, or give a file or a pipe",
    ]


@pytest.mark.root
def test_a_block_device_is_refused(box: Sandbox, tmp_path: Path) -> None:
    node = tmp_path / "loop"
    os.mknod(node, 0o600 | 0o060000, os.makedev(7, 0))
    try:
        fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        pytest.skip(f"no block device can be opened here: {error}")
    finally:
        node.unlink()
    try:
        with pytest.raises(SpecError, match="is a block device, which no payload is given"):
            box.run(["true"], stdin=fd)
    finally:
        os.close(fd)


def test_a_descriptor_that_is_not_open_is_refused(box: Sandbox) -> None:
    with pytest.raises(SpecError, match=r"\$\.stdout: descriptor 9999: Bad file descriptor"):
        box.run(["true"], stdout=9999)
    with pytest.raises(SpecError, match=r"\$\.pass_fds: descriptor 9999: Bad file descriptor"):
        box.run(["true"], pass_fds=[9999])


CLOSED = """
import os, sys
from nsjail_py import PIPE, Sandbox
box = Sandbox(rootfs=sys.argv[1])
kept = os.dup(1)
os.set_inheritable(kept, False)
for fd in (0, 1, 2):
    os.close(fd)
null = box.run(["sh", "-c", "cat; echo lost; echo lost >&2; exit 7"]).returncode
fed = box.run(["cat"], input=b"fed", stdout=PIPE).stdout
os.write(kept, b"%d %s" % (null, fed))
"""


def test_a_caller_without_stdio(busybox_root: Path) -> None:
    assert script.output(CLOSED, busybox_root) == "7 fed"


# -- descriptors --------------------------------------------------------------------------------------------------


def test_nothing_but_stdio_is_inside(box: Sandbox) -> None:
    """S2: the caller holds 50 descriptors that a child would inherit, one of them on the root."""
    held = [os.open("/", os.O_RDONLY), *(os.open(os.devnull, os.O_RDWR) for _ in range(49))]
    try:
        for fd in held:
            os.set_inheritable(fd, True)
        assert numbers(box) == [0, 1, 2]
        assert numbers(box, input=b"") == [0, 1, 2]
    finally:
        for fd in held:
            os.close(fd)


PASSING = """
import fcntl, os, sys
from nsjail_py import PIPE, Sandbox
box = Sandbox(rootfs=sys.argv[1])
box.run(["true"])  # what a process keeps from its first launch on gets its numbers now
wanted = [int(word) for word in sys.argv[2:]]
ours = {}
for number in wanted:
    read, write = os.pipe()
    os.fchmod(read, 0o666)  # to be opened by a number of two digits, which this shell cannot duplicate
    ours[number] = fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, 800)
    moved = fcntl.fcntl(write, fcntl.F_DUPFD_CLOEXEC, 800)
    os.close(read), os.close(write)
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
        fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 800)  # ours or the library's: the test is of no use
        sys.exit(f"{number} is in use")
    except OSError:
        pass
    os.dup2(moved, number)
    os.close(moved)
script = "for n in $@; do echo $n >/proc/self/fd/$n; done; ls /proc/$$/fd; exit"
shown = box.run(["sh", "-c", script, "sh", *map(str, wanted)], pass_fds=wanted, stdout=PIPE, text=True).stdout
print(sorted(map(int, shown.split())))
print({number: os.read(fd, 100).decode().strip() for number, fd in ours.items()})
"""


@pytest.mark.parametrize("wanted", [[43, 41], [64, 65, 66, 67, 68], [63, 64, 575, 576], [100, 700, 701]])
def test_descriptors_are_passed_under_their_numbers(busybox_root: Path, wanted: list[int]) -> None:
    """The stage keeps its own from 64 on."""
    assert script.output(PASSING, busybox_root, *wanted).splitlines() == [
        str(sorted([0, 1, 2, *wanted])),
        str({number: str(number) for number in wanted}),
    ]


@pytest.mark.parametrize(("fd", "what"), [(0, "stdin"), (2, "stderr"), (-1, "not a descriptor")])
def test_stdio_is_not_passed(box: Sandbox, fd: int, what: str) -> None:
    with pytest.raises(SpecError, match=rf"\$\.pass_fds: pass_fds: descriptor {fd} is {what}"):
        box.run(["true"], pass_fds=[fd])


def test_a_working_directory_through_a_descriptor_is_refused(box: Sandbox) -> None:
    fd = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=f"working directory /proc/self/fd/{fd}"):
            box.run(["pwd"], cwd=f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
