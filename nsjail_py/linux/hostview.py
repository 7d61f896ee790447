"""What the host's root looks like, as far as a sandbox that shows the host's programs must know it.

Gathered beforehand as frozen facts, so that planning reads no file. See hier(7), file-hierarchy(7).
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Where programs and libraries are.
PROGRAMS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")

#: What programs read of ``/etc`` to work at all, without anything that tells about the host's users or secrets.
SETTINGS = (
    "alternatives",
    "ca-certificates.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "pki/ca-trust",
    "pki/tls/certs",
    "resolv.conf",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)


class Entry(Record):
    """One thing of the host that is shown inside, at the same path.

    :param path: where
    :param link: the text of a symbolic link; ``None``: it is a directory or a file
    :param directory: it is a directory
    """

    path: str
    link: str | None = None
    directory: bool = False


class HostView(Record):
    """The host's own root.

    :param programs: directories of programs and libraries, and the links of a merged ``/usr``
    :param settings: files, directories and links of ``/etc``
    """

    programs: tuple[Entry, ...]
    settings: tuple[Entry, ...]


def read_host_view(root: str) -> HostView:
    """Read the view of a root directory.

    :param root: ``/``, or another one that is laid out like it
    """
    programs = tuple(_entries(root, PROGRAMS, ""))
    settings = tuple(_entries(root, SETTINGS, "etc/"))
    return HostView(programs=programs, settings=settings)


def _entries(root: str, names: Iterable[str], below: str) -> Iterator[Entry]:
    shown = {"usr", *(f"etc/{name}" for name in SETTINGS)}
    for name in names:
        path = os.path.join(root, below + name)
        try:
            mode = os.lstat(path).st_mode
            if S_ISLNK(mode):
                link = os.readlink(path)
                if _leads_to(root, below + name, link) & shown:
                    yield Entry(f"/{below}{name}", link=link)
                    continue
                mode = os.stat(path).st_mode
        except OSError:
            continue  # not there, or a link to nowhere: nothing to show
        if S_ISDIR(mode) or S_ISREG(mode):
            yield Entry(f"/{below}{name}", directory=S_ISDIR(mode))


def _leads_to(root: str, path: str, link: str) -> set[str]:
    """The target of a link and every directory above it, relative to the root."""
    target = os.path.normpath(os.path.join("/", os.path.dirname(path), link)).lstrip("/")
    parts = target.split("/")
    if not os.path.exists(os.path.join(root, target)):
        return set()
    return {"/".join(parts[:length]) for length in range(1, len(parts) + 1)}


def is_home(path: str) -> bool:
    """Whether a directory is somebody's home, or has the caller's below it.

    :param path: absolute, with every symbolic link resolved
    """
    own = os.path.realpath(os.path.expanduser("~"))
    return path in ("/root", "/home", own) or os.path.dirname(path) == "/home" or own.startswith(f"{path.rstrip('/')}/")


def in_home(path: str) -> bool:
    """Whether a file lies in somebody's home.

    :param path: absolute, with every symbolic link resolved
    """
    return path.startswith(("/root/", "/home/", os.path.realpath(os.path.expanduser("~")) + "/"))
