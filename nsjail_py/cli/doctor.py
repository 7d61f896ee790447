"""``nsjail-py doctor``: what this kernel, this user and this machine can do, and what to do about a no."""

from __future__ import annotations

from collections.abc import Sequence

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.messages import printable
from nsjail_py.cli.options import configured, plugin_option
from nsjail_py.linux.host import Host


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:
    """Print a line for each thing that a plugin looked at; the status is 1 where one of them says no."""
    loaded = configured(plugins)[1]
    parser = Parser("doctor [OPTIONS]", "Say what works here, what does not, and what to do about it.")
    parser.add("options", (plugin_option(loaded),))
    _, words = parser.parse(argv)
    parser.nothing_left(words)
    status = 0
    for owner, lines in loaded.each("nsjail_doctor", host=Host.probe()):
        for line in lines:
            print(printable(f"{line.state:4}  {owner:10}  {line.topic}: {line.detail}"))
            if line.remedy:
                print(printable(f"{'':18}→ {line.remedy}"))
            if line.state == "no":
                status = 1
    return status
