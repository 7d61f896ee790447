"""The verb ``nsjail-py sysctl NAME…``: what a setting is in a sandbox that does not set it."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def show(argv: Sequence[str]) -> int:
    """Run sysctl(8)'s question in a sandbox, where the namespaces are new.

    :param argv: names of settings
    :returns: 0, or 2 where none is named
    """
    from nsjail_py import run  # the verb is a user of the package, the hooks are a part of it

    if not argv:
        print("usage: nsjail-py sysctl NAME…", file=sys.stderr)
        return 2
    files = [f"/proc/sys/{name.replace('.', '/')}" for name in argv]
    return run(["head", "-v", "-n", "1", "--", *files]).returncode
