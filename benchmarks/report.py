"""A report as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import Bar, Report, Table


def _table(table: Table) -> list[str]:
    width = max(len(row.name) for row in table.rows)
    lines = [table.title, f"  {'':{width}}  {'runs':>5} {'min':>9} {'median':>9} {'p95':>9}  ratio (of minima)"]
    for row in table.rows:
        figures = f"{len(row.times):5} {row.min:9.3f} {row.median:9.3f} {row.p95:9.3f}"
        ratios = f"{table.ratio(row.name, table.base):5.2f} ({table.ratio_of_minima(row.name, table.base):.2f})"
        lines.append(f"  {row.name:{width}}  {figures}  {ratios}")
    lines.append(f"  milliseconds; the ratios are to {table.base}")
    return lines


def _bar(bar: Bar) -> str:
    return f"  {'met    ' if bar.met else 'NOT MET'}  {bar.value:6.2f}{bar.unit} of {bar.limit:g}{bar.unit}  {bar.text}"


def text(report: Report) -> str:
    """The report for a terminal."""
    blocks = [[f"== {report.name} =="], *(_table(table) for table in report.tables)]
    if report.bars:
        blocks.append(["required", *(_bar(bar) for bar in report.bars)])
    if report.notes:
        blocks.append(["not measured", *(f"  {note}" for note in report.notes)])
    return "\n\n".join("\n".join(block) for block in blocks)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "executable": sys.executable,
        "uid": os.geteuid(),
    }


def data(reports: Sequence[Report]) -> dict[str, Any]:
    """The reports as JSON data, with every single time in milliseconds."""
    return {
        "machine": machine(),
        "benchmarks": {
            report.name: {
                "tables": [
                    {
                        "title": table.title,
                        "base": table.base,
                        "rows": {
                            row.name: {
                                "min": row.min,
                                "median": row.median,
                                "p95": row.p95,
                                "ratio": table.ratio(row.name, table.base),
                                "ratio_of_minima": table.ratio_of_minima(row.name, table.base),
                                "times": row.times,
                            }
                            for row in table.rows
                        },
                    }
                    for table in report.tables
                ],
                "bars": [
                    {"text": bar.text, "value": bar.value, "limit": bar.limit, "unit": bar.unit, "met": bar.met}
                    for bar in report.bars
                ],
                "notes": report.notes,
            }
            for report in reports
        },
    }
