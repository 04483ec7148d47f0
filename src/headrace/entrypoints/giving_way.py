"""Processes that work in the background let those go first that answer people."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def give_way(niceness: int, *, idle: bool = False) -> None:
    """Lower the claim of this process on the processor, for every thread that it has and will have.

    Args:
        niceness: as `nice(2)` has it, 0 to 19.
        idle: whether it shall run when nothing else would, where the system knows that (Linux, SCHED_IDLE).
    """
    threads = [int(one.name) for one in Path("/proc/self/task").iterdir()] if Path("/proc/self/task").exists() else [0]
    for thread in threads:
        with suppress(OSError):  # it has ended, or a sandbox does not allow it
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
            if idle and hasattr(os, "SCHED_IDLE"):
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
