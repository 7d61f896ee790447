"""``python -m benchmarks [NAME ...] [--json FILE] [--runs N]``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Report
from benchmarks.report import data, text

#: Each is a module of this package with ``run(runs) -> Report``; its docstring says what it measures.
NAMES = ("launch", "cli", "syscalls")


def main() -> int:
    """Run the named benchmarks, or all. Returns 1 where one could not run, whatever the figures are."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure nsjail_py; see docs/benchmarks.md."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[*NAMES, []], help=f"one of {', '.join(NAMES)}; all by default"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time to FILE")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="runs of each case (%(default)s)")
    options = parser.parse_args()
    reports = []
    failed = 0
    for name in options.names or NAMES:
        benchmark: Callable[[int], Report] = importlib.import_module(f"benchmarks.{name}").run
        try:
            report = benchmark(options.runs)
        except (OSError, RuntimeError) as error:
            print(f"{name}: could not run: {error}", file=sys.stderr)
            failed = 1
            continue
        reports.append(report)
        print(text(report), end="\n\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(data(reports), indent=1) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
