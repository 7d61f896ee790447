"""An initial file system for a kernel, as bytes: the "newc" form of cpio (Documentation/driver-api/early-userspace)."""

from __future__ import annotations

import stat
from pathlib import PurePosixPath


class Initrd:
    """Files and directories, put together one by one."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._directories: set[str] = set()
        self._inode = 0

    def directory(self, path: str) -> None:
        """A directory, with those above it."""
        for directory in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)]:
            name = str(directory)
            if name != "." and name not in self._directories:
                self._directories.add(name)
                self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file, with the directories above it."""
        self.directory(str(PurePosixPath(path).parent))
        self._entry(path, stat.S_IFREG | mode, content)

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device and special device (2 each), name size, check
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._parts += [_padded(header + encoded), _padded(content)]

    def data(self) -> bytes:
        """The whole archive."""
        trailer = Initrd()
        trailer._entry("TRAILER!!!", 0, b"")
        return b"".join(self._parts + trailer._parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
