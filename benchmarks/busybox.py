"""A root directory with nothing but a static busybox: the smallest in which commands run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def busybox_root(path: Path) -> Path:
    """Make one, readable by everybody whatever the umask.

    :param path: a directory that does not exist yet
    :returns: ``path``
    :raises RuntimeError: busybox is not installed
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise RuntimeError("busybox is not installed (Debian: busybox-static)")
    for name in ("", "bin", "dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir()
        (path / name).chmod(0o755)
    shutil.copy(busybox, path / "bin" / "busybox")
    listing = subprocess.run([busybox, "--list"], check=True, stdout=subprocess.PIPE, text=True)
    for applet in set(listing.stdout.split()) - {"busybox"}:
        (path / "bin" / applet).symlink_to("busybox")
    return path
