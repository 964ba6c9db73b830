"""Threads that work ahead of the encoder give way to it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_LESS = 10


def give_way() -> None:
    """Lower the priority of the thread that calls, where threads have one of their own (Linux).

    Where there are fewer cores than threads at work, the encoder then keeps its core, and what is read and measured
    ahead takes the rest. No privilege is needed; what the system refuses is left as it is.
    """
    if sys.platform != "linux":
        return
    own = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, own, min(19, os.getpriority(os.PRIO_PROCESS, own) + _LESS))
