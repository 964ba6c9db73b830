"""Keeps the stack that signals are handled on from being replaced by a library that later frees it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux, see sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Give the thread its signal stack back at the end.

    OpenVINO gives the thread that compiles a model a signal stack of the model's own, and on its end gives back the one
    before, which may be that of a model that is gone. The next signal then ends the process with a segmentation fault,
    as Ctrl-C does: Python handles signals on that stack. Where the thread has another one by then, OpenVINO leaves it.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    before = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
