"""``nsjail-py ps``: list running sandboxes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from nsjail_py import running
from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.options import OWN, own
from nsjail_py.cli.table import show


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:  # noqa: ARG001
    """List those of this user that have a name."""
    parser = Parser("ps [OPTIONS]", "List this user's running sandboxes that have a name.")
    parser.add("options", (own("--json", "JSON instead of a table", "json"),))
    filled, words = parser.parse(argv)
    parser.nothing_left(words)
    alive = [record for record in running.records() if record.alive]
    if filled.get(OWN, {}).get("json"):
        rows = [{"name": each.name, "pid": each.payload, "created": each.created, "argv": each.argv} for each in alive]
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        now = time.time()
        show(
            ("NAME", "PID", "AGE", "COMMAND"),
            [(each.name, str(each.payload), age(now - each.created), " ".join(each.argv)) for each in alive],
        )
    return 0


def age(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> age(59.9), age(3725), age(200000)
    ('59s', '1h 2m', '2d 7h')
    """
    left = max(0, int(seconds))
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts: list[str] = []
    for unit, size in units:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
