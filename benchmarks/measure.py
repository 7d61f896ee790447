"""Cases measured in turns, and what is told about them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: Runs of one case before the next has its turn: the fewer, the more alike is what happens to all meanwhile.
SHARE = 5

#: Runs the case so many times and returns as many times in milliseconds.
Batch = Callable[[int], list[float]]


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    :param name: unique in its table
    :param batch: does it
    """

    name: str
    batch: Batch


@dataclass(frozen=True)
class Row:
    """What was measured of one case.

    :param name: the case's name
    :param times: milliseconds, in the order of the runs
    """

    name: str
    times: tuple[float, ...]

    @property
    def min(self) -> float:
        return min(self.times)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        return sorted(self.times)[len(self.times) * 95 // 100]


@dataclass(frozen=True)
class Table:
    """Rows of one run, which may be compared with each other and with no others.

    :param title: what was measured, under which conditions
    :param rows: in the order of the cases
    :param base: the name of the row that ratios are to
    """

    title: str
    rows: tuple[Row, ...]
    base: str

    def row(self, name: str) -> Row:
        """The row of that name. Raises KeyError where there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def ratio(self, name: str, to: str) -> float:
        """How many times the median of ``to`` the median of ``name`` is."""
        return self.row(name).median / self.row(to).median

    def ratio_of_minima(self, name: str, to: str) -> float:
        """The same of the fastest runs: what is left of it on a machine that others use too."""
        return self.row(name).min / self.row(to).min


@dataclass(frozen=True)
class Bar:
    """A requirement.

    :param text: what is required
    :param value: what was measured
    :param limit: the most it may be
    :param unit: ``x`` for a ratio, ``ms`` for a time
    """

    text: str
    value: float
    limit: float
    unit: str = "x"

    @property
    def met(self) -> bool:
        return self.value <= self.limit


@dataclass
class Report:
    """All that one benchmark has to say.

    :param name: the benchmark's
    :param tables: what was measured
    :param bars: what is required of it
    :param notes: what could not be measured here, and why
    """

    name: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def interleave(cases: Sequence[Case], runs: int) -> tuple[Row, ...]:
    """Measure the cases in turns, so that a slow minute of the machine falls on all of them.

    :param cases: in the order of the table; every second round goes through them backwards
    :param runs: how often each is run in all, ``SHARE`` at a time
    """
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn, done in enumerate(range(0, runs, SHARE)):
        for case in cases if turn % 2 == 0 else reversed(cases):
            times[case.name] += case.batch(min(SHARE, runs - done))
    return tuple(Row(case.name, tuple(times[case.name])) for case in cases)
