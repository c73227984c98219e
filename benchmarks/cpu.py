"""CPU time and memory of other processes, from the kernel."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import psutil


def seconds_of(pid: int) -> float:
    """Return the CPU seconds a process has used, all its threads, to the nanosecond where that can be had."""
    try:
        # The kernel's CPU clock of another process (clock_getcpuclockid); /proc counts in hundredths.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        used = psutil.Process(pid).cpu_times()
        return float(used.user + used.system)


def read(pids: Iterable[int]) -> dict[int, float]:
    """Return the CPU seconds of each process that is there."""
    found = {}
    for pid in pids:
        try:
            found[pid] = seconds_of(pid)
        except psutil.Error:
            continue
    return found


def spent(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return the CPU seconds between two readings; a process seen only in the second counts whole."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def private_bytes(pid: int) -> int:
    """Return the memory that would be free if the process ended."""
    return int(psutil.Process(pid).memory_full_info().uss)
