"""What a process that holds secrets gives away to its neighbours: nothing."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4
_NOT_DUMPABLE = 0


def guard_process() -> None:
    """Write no core files, and let no process of the same user read this one's memory.

    Called before the first secret is read. RLIMIT_CORE 0 everywhere; PR_SET_DUMPABLE 0 (prctl(2))
    on Linux, which also gives /proc/PID/environ and mem to root.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A kernel that refuses leaves the process as it was: no reason not to trade.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, _NOT_DUMPABLE, 0, 0, 0)
