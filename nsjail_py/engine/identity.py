"""Who the payload is: names and defaults settled into numbers before any plugin plans."""

from __future__ import annotations

import os
from stat import S_ISREG

import msgspec

from nsjail_py.errors import Problem, SpecError
from nsjail_py.linux import constants as c
from nsjail_py.linux.files import openat2
from nsjail_py.linux.host import Host
from nsjail_py.plugin import identity
from nsjail_py.plugin.sections import Mnt, Process, User
from nsjail_py.spec.spec import SandboxSpec

HOST_VIEW_ID = 1000
NOBODY = 65534
# no account file is larger, and a hostile root may hold an endless one
MAX_ACCOUNTS = 1 << 20
MAX_ID = 2**32 - 2


class Identity(msgspec.Struct, frozen=True):
    """The payload inside.

    :param uid: its uid
    :param gid: its gid
    :param home: its home directory
    """

    uid: int
    gid: int
    home: str


def settle(spec: SandboxSpec, host: Host) -> tuple[SandboxSpec, Identity]:
    """Give ``process.user`` its numeric value.

    :returns: the spec with it, and who the payload is
    :raises SpecError: a name that the root's own passwd or group file does not have
    """
    process = spec.section("process", Process)
    root = _root_directory(spec)
    accounts = _accounts(root, "etc/passwd") if root else []
    if process.user is None:
        uid, gid = _default(spec, host, root is not None)
    else:
        uid, gid = _named(process.user, accounts, _accounts(root, "etc/group") if root else [])
    home = _home(spec, uid, accounts, root is not None)
    settled = msgspec.structs.replace(process, user=f"{uid}:{gid}")
    return spec.replace(process=settled), Identity(uid, gid, home)


def _default(spec: SandboxSpec, host: Host, rooted: bool) -> tuple[int, int]:
    if spec.section("user", User).map == "keep":
        return host.uid, host.gid
    if not identity.has_user_namespace(spec, host):
        # never the host's root unless asked in so many words
        return (host.uid, host.gid) if host.uid else (NOBODY, NOBODY)
    if rooted:
        return 0, 0
    return (HOST_VIEW_ID, HOST_VIEW_ID) if host.uid == 0 else (host.uid, host.gid)


def _home(spec: SandboxSpec, uid: int, accounts: list[list[str]], rooted: bool) -> str:
    if rooted:
        for fields in accounts:
            if len(fields) > 5 and fields[2] == str(uid) and fields[5].startswith("/") and "\0" not in fields[5]:
                return fields[5]
        return "/root" if uid == 0 else "/"
    if spec.section("mnt", Mnt).view == "empty":
        return "/"
    return "/root" if uid == 0 else "/home/user"


def _root_directory(spec: SandboxSpec) -> str | None:
    mnt = spec.section("mnt", Mnt)
    if mnt.root is not None:
        return mnt.root.path
    return mnt.overlay.lower[0] if mnt.overlay is not None else None


def _accounts(root: str, name: str) -> list[list[str]]:
    """The fields of an account file of the root, read without its libraries (CVE-2019-14271) and without following
    a link out of it."""
    try:
        folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []  # the mnt plugin's check says so, with a hint
    try:
        resolve = c.RESOLVE_IN_ROOT | c.RESOLVE_NO_MAGICLINKS
        fd = openat2(name, os.O_RDONLY | os.O_NONBLOCK, directory=folder, resolve=resolve)
    except OSError:
        return []
    finally:
        os.close(folder)
    try:
        # a directory cannot be read, and whatever has to be waited for is no account file
        text = os.read(fd, MAX_ACCOUNTS) if S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    return [line.split(":") for line in text.decode(errors="replace").splitlines()]


def _named(user: str, accounts: list[list[str]], groups: list[list[str]]) -> tuple[int, int]:
    name, _, group = user.partition(":")
    entry = next((fields for fields in accounts if len(fields) > 3 and name in (fields[0], fields[2])), None)
    uid = _number(name)
    if uid is None and not name.isdecimal():
        if entry is not None:
            uid = _number(entry[2])
        elif not accounts:
            uid = {"root": 0, "user": HOST_VIEW_ID, "nobody": NOBODY}.get(name)
    if uid is None:
        raise _nobody("user", name, "passwd")
    if not group:
        own = _number(entry[3]) if entry is not None else None
        return uid, uid if own is None else own
    gid = _number(group)
    if gid is None and not group.isdecimal():
        gid = next((_number(fields[2]) for fields in groups if len(fields) > 2 and fields[0] == group), None)
    if gid is None:
        raise _nobody("group", group, "group")
    return uid, gid


def _number(text: str) -> int | None:
    """An id, or ``None`` where a text is none: a hostile root may have any number of digits."""
    return int(text) if text.isdecimal() and len(text) <= 10 and int(text) <= MAX_ID else None


def _nobody(kind: str, name: str, file: str) -> SpecError:
    hint = f"give a number, or a name of the root's /etc/{file}"
    return SpecError([Problem("$.process.user", f"there is no {kind} {name} inside", hint)])
