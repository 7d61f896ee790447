"""The steps of the stage, one function an opcode: what a plugin author calls instead of filling in a ``Step``.

Each returns a frozen ``Step``; nothing is done here. The meaning of every opcode is in the contract
(``cffi_build/csrc/contract.h``); parameters here have the types that the contract's argument kinds want.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nsjail_py.linux import constants as c
from nsjail_py.plan.part import Argument, Data, Fill, Slot, Step
from nsjail_py.plan.payload_steps import affinity as affinity
from nsjail_py.plan.payload_steps import bounding_set as bounding_set
from nsjail_py.plan.payload_steps import capabilities as capabilities
from nsjail_py.plan.payload_steps import chdir as chdir
from nsjail_py.plan.payload_steps import descriptors as descriptors
from nsjail_py.plan.payload_steps import dumpable as dumpable
from nsjail_py.plan.payload_steps import execute as execute
from nsjail_py.plan.payload_steps import groups as groups
from nsjail_py.plan.payload_steps import ids as ids
from nsjail_py.plan.payload_steps import io_priority as io_priority
from nsjail_py.plan.payload_steps import keyring as keyring
from nsjail_py.plan.payload_steps import no_new_privs as no_new_privs
from nsjail_py.plan.payload_steps import priority as priority
from nsjail_py.plan.payload_steps import pty as pty
from nsjail_py.plan.payload_steps import rlimit as rlimit
from nsjail_py.plan.payload_steps import scheduler as scheduler
from nsjail_py.plan.payload_steps import seccomp as seccomp
from nsjail_py.plan.payload_steps import securebits as securebits
from nsjail_py.plan.payload_steps import setsid as setsid
from nsjail_py.plan.payload_steps import subreaper as subreaper
from nsjail_py.plan.payload_steps import terminal as terminal
from nsjail_py.plan.payload_steps import umask as umask
from nsjail_py.plan.phases import Phase

#: The new root, once a part has filled it.
ROOT = Slot("root")


def syscall(number: int, *args: Argument, phase: Phase, text: str, path: str | None = None, rank: int = 0) -> Step:
    """Any system call, for what the stage never wrapped.

    :param number: the call's number on this machine
    :param args: up to six; only the last may be a ``Fill``, which takes the call's result as a descriptor
    """
    return Step(op=c.NSJ_OP_SYSCALL, args=(number, *args), phase=phase, text=text, path=path, rank=rank)


def gate(number: int, first: int, count: int, *, phase: Phase, text: str) -> Step:
    """Report, and wait for the owner's release, which fills ``count`` slots from ``first`` on."""
    return Step(op=c.NSJ_OP_GATE, args=(number, first, count), phase=phase, text=text, rank=-100)


def close(slot: Slot, *, phase: Phase, rank: int = 0) -> Step:
    """Close a slot."""
    return Step(op=c.NSJ_OP_CLOSE, args=(slot,), phase=phase, text=f"close {slot.name}", rank=rank)


def init(flags: int = 0, keep: Slot | None = None, *, uid: int = 0) -> Step:
    """Fork: the parent becomes init, the child is to become the payload.

    :param flags: ``NSJ_INIT_*``
    :param keep: a slot that init holds open as long as it lives
    :param uid: for ``NSJ_INIT_OUTSIDE``, a uid inside for init alone, so that the payload may not signal it; 0: none
    """
    text = "fork; the parent waits outside" if flags & c.NSJ_INIT_OUTSIDE else "fork; the parent becomes init"
    if uid:
        text += f" as uid {uid}"
    return Step(op=c.NSJ_OP_INIT, args=(flags | uid << c.NSJ_INIT_UID_SHIFT, keep), phase=Phase.INIT, text=text)


def fork(*, rank: int) -> Step:
    """Enter a new pid namespace: the child goes on as its pid 1, the parent only waits."""
    return Step(op=c.NSJ_OP_FORK, phase=Phase.IDENTITY, text="fork into the new pid namespace", rank=rank)


def open_file(
    path: str, flags: int, into: Slot, *, directory: Slot | None = None, phase: Phase, text: str, rank: int = 0
) -> Step:
    """Open a file, and keep its descriptor for later steps (openat2(2)).

    :param flags: ``O_*``
    :param directory: what a relative path is relative to
    """
    return Step(
        op=c.NSJ_OP_OPEN, args=(directory, path, flags, 0, Fill(into)), phase=phase, text=text, path=path, rank=rank
    )


def write(slot: Slot, value: bytes, *, phase: Phase, text: str, rank: int = 0) -> Step:
    """Write bytes to an open descriptor in one call."""
    return Step(op=c.NSJ_OP_WRITE, args=(slot, Data(value)), phase=phase, text=text, rank=rank)


def write_file(path: str, value: bytes, *, phase: Phase, rank: int = 0, optional: bool = False) -> Step:
    """Write an existing file, such as a sysctl, in one call."""
    text = f"write {value.decode(errors='replace').strip()!r} to {path}"
    return Step(
        op=c.NSJ_OP_WRITE_FILE,
        args=(path, Data(value)),
        phase=phase,
        text=text,
        path=path,
        rank=rank,
        optional=optional,
    )


def mkdir(path: str, mode: int = 0o755, *, root: Slot = ROOT, phase: Phase = Phase.MOUNT, rank: int = 0) -> Step:
    """A directory in the new root, or in another mount of which there is a descriptor, with its parents."""
    return Step(
        op=c.NSJ_OP_MKDIR,
        args=(root, path, mode),
        phase=phase,
        text=f"directory {path} ({mode:o})",
        path=path,
        rank=rank,
    )


def symlink(path: str, target: str) -> Step:
    """A symbolic link in the new root."""
    return Step(
        op=c.NSJ_OP_SYMLINK, args=(ROOT, path, target), phase=Phase.MOUNT, text=f"link {path} -> {target}", path=path
    )


def file(
    path: str, content: bytes, mode: int = 0o644, *, root: Slot = ROOT, phase: Phase = Phase.MOUNT, rank: int = 0
) -> Step:
    """A new file with the given content in the new root, or in another mount of which there is a descriptor."""
    return Step(
        op=c.NSJ_OP_FILE,
        args=(root, path, Data(content), mode),
        phase=phase,
        text=f"file {path} of {len(content)} bytes ({mode:o})",
        path=path,
        rank=rank,
    )


def chown(path: str, uid: int, gid: int) -> Step:
    """Give a path in the new root to a user inside."""
    return Step(
        op=c.NSJ_OP_CHOWN, args=(ROOT, path, uid, gid), phase=Phase.MOUNT, text=f"give {path} to {uid}:{gid}", path=path
    )


def propagation(path: str, kind: int, *, recursive: bool = True) -> Step:
    """Change how mounts below ``path`` propagate (``MS_PRIVATE`` and its like), see mount_namespaces(7)."""
    name = {c.MS_PRIVATE: "private", c.MS_SLAVE: "slave", c.MS_SHARED: "shared", c.MS_UNBINDABLE: "unbindable"}[kind]
    text = f"make every mount below {path} {name}" if recursive else f"make the mount {path} {name}"
    return Step(
        op=c.NSJ_OP_PROPAGATION, args=(path, kind, int(recursive)), phase=Phase.ROOT, text=text, path=path, rank=-50
    )


def open_tree(
    path: str,
    into: Slot,
    *,
    directory: Slot | None = None,
    recursive: bool = True,
    optional: bool = False,
    rank: int = 0,
) -> Step:
    """Clone the mount tree at a path of the old root, as the child itself may reach it (open_tree(2)).

    :param directory: what a relative path is relative to
    """
    flags = c.OPEN_TREE_CLONE | c.OPEN_TREE_CLOEXEC | (c.AT_RECURSIVE if recursive else 0)
    return Step(
        op=c.NSJ_OP_OPEN_TREE,
        args=(directory, path, flags, Fill(into)),
        phase=Phase.ROOT,
        text=f"clone the mount tree at {path}",
        path=path,
        optional=optional,
        rank=rank,
    )


def new_filesystem(
    kind: str,
    options: Iterable[str],
    into: Slot,
    *,
    attributes: int = 0,
    phase: Phase = Phase.MOUNT,
    rank: int = 0,
    optional: bool = False,
) -> Step:
    """A new file system, mounted nowhere yet (fsopen(2), fsconfig(2), fsmount(2)).

    :param options: ``key=value`` or a flag
    :param attributes: ``MOUNT_ATTR_*``
    """
    listed = tuple(options)
    return Step(
        op=c.NSJ_OP_NEW_FS,
        args=(kind, listed, attributes, Fill(into)),
        phase=phase,
        rank=rank,
        text=f"new {kind}" + (f" ({','.join(listed)})" if listed else ""),
        path=kind,
        optional=optional,
    )


def set_attributes(
    where: Slot | str,
    *,
    add: int = 0,
    clear: int = 0,
    recursive: bool = True,
    phase: Phase,
    text: str,
    rank: int = 0,
    optional: bool = False,
) -> Step:
    """Set and clear attributes of a mount (mount_setattr(2))."""
    flags = c.AT_RECURSIVE if recursive else 0
    if isinstance(where, Slot):
        args: tuple[Argument, ...] = (where, None, add, clear, 0, flags | c.AT_EMPTY_PATH, None)
    else:
        args = (None, where, add, clear, 0, flags, None)
    path = where if isinstance(where, str) else None
    return Step(op=c.NSJ_OP_SET_ATTR, args=args, phase=phase, text=text, path=path, rank=rank, optional=optional)


def attach(
    tree: Slot,
    target: str,
    *,
    make: int = 0,
    text: str,
    root: Slot | None = ROOT,
    phase: Phase = Phase.MOUNT,
    rank: int = 0,
    optional: bool = False,
) -> Step:
    """Put a detached mount tree on a target in the new root, resolved by descriptor without leaving the root.

    :param make: ``NSJ_ATTACH_MKDIR``, ``NSJ_ATTACH_MKFILE`` or, as the tree is, ``NSJ_ATTACH_MAKE`` where a missing
        target is to be made
    :param root: another mount of which there is a descriptor; ``None``: the path is taken as the child sees it
    """
    return Step(
        op=c.NSJ_OP_ATTACH,
        args=(root, tree, target, make),
        phase=phase,
        text=text,
        path=target,
        rank=rank,
        optional=optional,
    )


def attach_root() -> Step:
    """Put the new root on top of the old one, where every process finds it and nobody enters it yet."""
    return Step(
        op=c.NSJ_OP_ATTACH,
        args=(None, ROOT, "/", 0),
        phase=Phase.ROOT,
        text="put the new root over the old",
        path="/",
        rank=50,
    )


def pivot() -> Step:
    """Make the new root the root and detach the old one (pivot_root(2), the ``.``, ``.`` form)."""
    return Step(
        op=c.NSJ_OP_PIVOT, args=(ROOT,), phase=Phase.PIVOT, text="pivot into the new root, detach the old", path="/"
    )


def mask(paths: Sequence[str], covers: Slot | None = None) -> Step:
    """Cover those of the paths that exist: a file by one that reads empty, a directory by an empty one.

    :param covers: an attached tree of this project's own making with ``null`` and an empty directory ``mqueue``
    """
    text = f"mask {', '.join(paths)}"
    return Step(op=c.NSJ_OP_MASK, args=(tuple(paths), covers), phase=Phase.SEAL, text=text, rank=10)


def readonly(paths: Sequence[str]) -> Step:
    """Make those of the paths that exist read-only, with everything below."""
    return Step(
        op=c.NSJ_OP_READONLY, args=(tuple(paths),), phase=Phase.SEAL, text=f"read-only {', '.join(paths)}", rank=5
    )


def mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None, *, phase: Phase, text: str
) -> Step:
    """The classic mount(2), for what the newer family does not offer."""
    return Step(op=c.NSJ_OP_MOUNT, args=(source, target, kind, flags, data), phase=phase, text=text, path=target)


def unmount(target: str, flags: int, *, phase: Phase) -> Step:
    """Unmount (umount2(2))."""
    return Step(op=c.NSJ_OP_UMOUNT, args=(target, flags), phase=phase, text=f"unmount {target}", path=target)


def unshare(flags: int, *, phase: Phase, text: str, rank: int = 0) -> Step:
    """New namespaces for the calling process (unshare(2))."""
    return Step(op=c.NSJ_OP_UNSHARE, args=(flags,), phase=phase, text=text, rank=rank)


def setns(namespace: Slot, flags: int, *, text: str, rank: int = 0, phase: Phase = Phase.JOIN) -> Step:
    """Join a namespace, or with a pidfd several at once (setns(2))."""
    return Step(op=c.NSJ_OP_SETNS, args=(namespace, flags), phase=phase, text=text, rank=rank)


def identity(uid: int, gid: int, flags: int = 0) -> Step:
    """Become ids of the new user namespace, with all its capabilities."""
    text = "keep the mapped ids" if flags & c.NSJ_IDENTITY_KEEP else f"become {uid}:{gid} of the user namespace"
    return Step(op=c.NSJ_OP_IDENTITY, args=(uid, gid, flags), phase=Phase.IDENTITY, text=text)


def hostname(name: str) -> Step:
    """Set the host name of the UTS namespace (sethostname(2))."""
    return Step(op=c.NSJ_OP_HOSTNAME, args=(name,), phase=Phase.SYSTEM, text=f"host name {name}")


def domainname(name: str) -> Step:
    """Set the NIS domain name of the UTS namespace (setdomainname(2))."""
    return Step(op=c.NSJ_OP_DOMAINNAME, args=(name,), phase=Phase.SYSTEM, text=f"domain name {name}")


def loopback() -> Step:
    """Bring up ``lo``."""
    return Step(op=c.NSJ_OP_LOOPBACK, args=(1,), phase=Phase.SYSTEM, text="loopback up", path="lo")
