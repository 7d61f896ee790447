"""Put a running sandbox on record, so that other commands find it by its name."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nsjail_py import running
from nsjail_py.linux.procfs import boot_id, start_time
from nsjail_py.spec.codec import encode

if TYPE_CHECKING:
    from nsjail_py.engine.process import Process


def register(process: Process) -> None:
    """Write the record of a process that has a name.

    :raises FileExistsError: a running sandbox has the name
    """
    if process.name is None:
        raise ValueError("a process without a name cannot be put on record")
    init = process.init_pid
    running.save(
        running.Running(
            name=process.name,
            init=init,
            init_started=start_time(init),
            payload=process.pid,
            owner=os.getpid(),
            owner_started=start_time(os.getpid()),
            boot=boot_id(),
            created=time.time(),
            argv=process.args,
            facts=process.facts,
            spec=encode(process.spec, "json"),
        )
    )
