"""A calling process: small or large, root or not, which starts things and says how long each start took.

``python -m benchmarks.caller MIB`` holds so much memory and answers each line, a request in JSON, with a line of
milliseconds. The memory is written, so that it is really there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.measure import Case

#: Starts that are not counted, at the beginning of every batch.
UNCOUNTED = 2


class Caller:
    """A calling process, as the benchmark sees it.

    :param mib: how much memory it holds
    :param prefix: the words before its command, which make it another user's
    :param cwd: where the sources are
    """

    def __init__(self, mib: int = 0, *, prefix: Sequence[str] = (), cwd: Path) -> None:
        argv = [*prefix, sys.executable, "-m", "benchmarks.caller", str(mib)]
        self._process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def case(
        self, name: str, argv: Sequence[str | Path], *, sandbox: dict[str, Any] | None = None, gap: float = 0
    ) -> Case:
        """A case that this process carries out.

        :param argv: the command to start
        :param sandbox: arguments of ``Sandbox``; without them ``subprocess.run`` starts the command
        :param gap: seconds to wait before each start, not counted
        """
        request = {"argv": [str(word) for word in argv], "sandbox": sandbox, "gap": gap}

        def batch(runs: int) -> list[float]:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps({**request, "runs": runs}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{name}: the calling process ended")
            times: list[float] = json.loads(answer)
            return times

        return Case(name, batch)


def _starter(argv: list[str], sandbox: dict[str, Any] | None) -> Callable[[], int]:
    """What is timed: the whole call, from arguments to a result with the output."""
    if sandbox is None:
        return lambda: subprocess.run(argv, capture_output=True).returncode
    # a caller that only ever calls subprocess.run stays as small as it is
    from nsjail_py import Sandbox
    from nsjail_py.plugin.manager import Plugins
    from nsjail_py.spec.codec import decode

    compiled = Sandbox(**(sandbox | {"spec": decode(sandbox["spec"], "json", Plugins().types)}))
    return lambda: compiled.run(argv, capture_output=True).returncode


def _times(start: Callable[[], int], runs: int, gap: float) -> list[float]:
    times = []
    for number in range(-UNCOUNTED, runs):
        if gap and number >= 0:
            time.sleep(gap)
        began = time.perf_counter_ns()
        status = start()
        took = time.perf_counter_ns() - began
        if status:
            raise SystemExit(f"the command ended with status {status}")
        if number >= 0:
            times.append(took / 1e6)
    return times


def main() -> None:
    """Answer requests until there are no more."""
    ballast = bytearray(b"\1") * (int(sys.argv[1]) << 20)
    starters: dict[str, Callable[[], int]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = json.dumps([request["argv"], request["sandbox"]])
        if key not in starters:
            starters[key] = _starter(request["argv"], request["sandbox"])
        print(json.dumps(_times(starters[key], request["runs"], request["gap"])), flush=True)
    del ballast


if __name__ == "__main__":
    main()
