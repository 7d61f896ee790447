"""How every wrapper of this package calls C: results are checked here, and errors are made here."""

from __future__ import annotations

import os

from nsjail_py._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    StrPath = str | bytes | PathLike[str] | PathLike[bytes]

__all__ = ["check", "failure", "ffi", "lib"]


def failure(code: int, call: str, path: StrPath | None = None) -> OSError:
    """The exception for a failed call.

    :param code: ``-errno``
    :param call: the name of the system call
    :param path: the file that it was about
    :returns: an OSError of the fitting subclass

    >>> failure(-2, "open_tree", "/missing")
    FileNotFoundError(2, 'open_tree: No such file or directory')
    """
    text = f"{call}: {os.strerror(-code)}"
    return OSError(-code, text) if path is None else OSError(-code, text, os.fspath(path))


def check(code: int, call: str, path: StrPath | None = None) -> int:
    """Pass on a result that is not negative, raise :func:`failure` for one that is."""
    if code < 0:
        raise failure(code, call, path)
    return code
