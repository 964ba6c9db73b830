"""A library that gives the thread a signal stack of its own does not keep it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from rsrag.models import signalstack, weights
from rsrag.models.signalstack import kept_signal_stack

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signal stacks are kept on Linux")
GRAPH = Path(weights.__file__).parent / "weights" / "mini" / "image" / "encoder.onnx"

TWO_MODELS = """
import signal, sys
from pathlib import Path
from rsrag.models.towers import OpenVinoTower
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
graph = Path(sys.argv[1])
first = OpenVinoTower(graph, "f32", of_planes=True)
second = OpenVinoTower(graph, "f32", of_planes=True)
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("stopped")
"""


def now() -> tuple[int | None, int, int]:
    stack = signalstack._Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack.address, stack.flags, stack.size


def test_the_thread_has_its_stack_back() -> None:
    before = now()
    room = ctypes.create_string_buffer(1 << 16)
    with kept_signal_stack():
        other = signalstack._Stack(ctypes.addressof(room), 0, len(room))
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None) == 0
        assert now() == (ctypes.addressof(room), 0, len(room))
    assert now() == before


def test_ctrl_c_after_models_of_openvino_are_gone() -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", TWO_MODELS, str(GRAPH)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "stopped\n"), ended.stderr
