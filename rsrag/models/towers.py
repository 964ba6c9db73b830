"""Image towers as they are run: by ONNX Runtime, OpenVINO or torch, behind one small protocol."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rsrag.errors import BadModelFile, MissingExtra
from rsrag.models.signalstack import kept_signal_stack

Batch = npt.NDArray[np.uint8]
"""Pictures at the input size, uint8 of shape [N, S, S, 3]."""
Features = npt.NDArray[np.float32]
"""What a tower gives for a batch, float32 of shape [N, D]; not always of unit length."""

_WORTH = 8
"""Pictures of a batch from which a graph made for their number pays."""


class Tower(Protocol):
    """One way to run the image half of a model.

    A batch goes through three calls, so that a GPU works while the next one is prepared: ``stage`` may run in another
    thread, ``launch`` may return before the work is done, ``collect`` waits for it.

    Attributes:
        runtime: a name of :data:`rsrag.models.runtime.RUNTIMES`.
        device: "cpu", or a device of torch.
    """

    runtime: str
    device: str

    def stage(self, batch: Batch) -> Any:
        """The batch where ``launch`` wants it."""

    def launch(self, staged: Any) -> Any:
        """Start the work."""

    def collect(self, launched: Any) -> Features:
        """Its result."""


def run(tower: Tower, batch: Batch) -> Features:
    """One batch through a tower."""
    return tower.collect(tower.launch(tower.stage(batch)))


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def planes(batch: Batch) -> npt.NDArray[np.float32]:
    """Float32 in [0, 1] of shape [N, 3, S, S]: the input of graphs that know nothing of bytes."""
    scaled: npt.NDArray[np.float32] = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)
    scaled /= np.float32(255.0)
    return scaled


class OrtTower:
    """A graph in ONNX Runtime, on the CPU.

    Args:
        graph: the file, or its bytes.
        outputs: names of the outputs, put side by side; all by default.
        feed: what the graph wants of a batch; the batch itself by default.
    """

    runtime, device = "ort", "cpu"

    def __init__(
        self,
        graph: Path | bytes,
        outputs: Sequence[str] | None = None,
        feed: Callable[[Batch], npt.NDArray[Any]] | None = None,
    ) -> None:
        self._session = ort_session(graph)
        self._outputs = list(outputs) if outputs else None
        self._feed = feed
        self._input = self._session.get_inputs()[0].name

    def stage(self, batch: Batch) -> npt.NDArray[Any]:
        return self._feed(batch) if self._feed else batch

    def launch(self, staged: npt.NDArray[Any]) -> list[Features]:
        given: list[Features] = self._session.run(self._outputs, {self._input: staged})
        return given

    def collect(self, launched: list[Features]) -> Features:
        return np.concatenate(launched, axis=1) if len(launched) > 1 else launched[0]


def ort_session(graph: Path | bytes, *, arena: bool = True) -> Any:
    """A session on every usable core whose threads do not spin while they wait.

    Args:
        graph: the file, or its bytes.
        arena: whether memory is kept for the next run; where inputs have many sizes, what is kept does not fit the
            next one and adds up.

    Raises:
        BadModelFile: ONNX Runtime cannot read the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = arena
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = graph if isinstance(graph, bytes) else str(graph)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no base class of its own
        name = "the graph" if isinstance(graph, bytes) else graph
        raise BadModelFile(f"ONNX Runtime cannot run {name}: {error}") from error


class OpenVinoTower:
    """A graph in OpenVINO, on the CPU, computing in float32 or bfloat16.

    The graph is compiled for batches of any size, and once more for the first size that comes twice in a row: knowing
    it saves about a tenth of the time.

    Args:
        model: an ONNX or IR file, or a model of ``openvino``.
        number: "f32" or "bf16".
        outputs: names of the outputs, put side by side; all by default.
        of_planes: whether the graph wants float32 in [0, 1] of shape [N, 3, S, S], which OpenVINO then makes of bytes.

    Raises:
        MissingExtra: OpenVINO is not installed.
        BadModelFile: it cannot read the file.
    """

    device = "cpu"

    def __init__(
        self,
        model: Any,
        number: str,
        outputs: Sequence[str] | None = None,
        *,
        of_planes: bool = False,
    ) -> None:
        self.runtime = f"openvino-{number}"
        read = read_openvino(model)
        self._model = _of_bytes(read) if of_planes else read
        self._number = number
        self._any_size = compiled(self._model, number)
        self._one_size: Any = None
        self._size = self._last = 0
        self._outputs = list(outputs or [port.any_name for port in self._any_size.outputs])
        self._busy = threading.Lock()  # one request, whose results lie in its own memory

    def stage(self, batch: Batch) -> Batch:
        return batch

    def launch(self, staged: Batch) -> list[Features]:
        with self._busy:
            given = self._ready(len(staged))(staged)
            return [np.array(given[name], dtype=np.float32) for name in self._outputs]

    def _ready(self, size: int) -> Any:
        """The graph for batches of a size."""
        if self._one_size is None and size == self._last and size >= _WORTH:
            self._one_size, self._size = self._of_size(size), size
        self._last = size
        return self._one_size if size == self._size else self._any_size

    def _of_size(self, size: int) -> Any:
        fixed = self._model.clone()
        pixels = fixed.inputs[0]
        try:
            fixed.reshape({pixels.any_name: [size, *list(pixels.partial_shape)[1:]]})
            return compiled(fixed, self._number)
        except (RuntimeError, BadModelFile):  # a graph whose shapes cannot be told ahead
            return self._any_size

    def collect(self, launched: list[Features]) -> Features:
        return np.concatenate(launched, axis=1) if len(launched) > 1 else launched[0]


def read_openvino(model: Any) -> Any:
    """A file as a model of OpenVINO; what is one already stays as it is.

    Raises:
        MissingExtra: OpenVINO is not installed.
        BadModelFile: it cannot read the file.
    """
    openvino = import_openvino()
    try:
        return openvino.Core().read_model(str(model)) if isinstance(model, Path) else model
    except RuntimeError as error:
        raise BadModelFile(f"OpenVINO cannot read {model}: {error}") from error


def _of_bytes(model: Any) -> Any:
    """A model whose input are pictures as they lie in memory, uint8 [N, S, S, 3], instead of planes."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    return steps.build()


def compiled(model: Any, number: str) -> Any:
    """A model of OpenVINO ready to run on every usable core; see :class:`OpenVinoTower`."""
    read = read_openvino(model)
    openvino = import_openvino()
    settings: Mapping[str, Any] = {
        "INFERENCE_PRECISION_HINT": number,
        "INFERENCE_NUM_THREADS": usable_cores(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        with kept_signal_stack():
            return openvino.Core().compile_model(read, "CPU", settings)
    except RuntimeError as error:
        raise BadModelFile(f"OpenVINO cannot run {model}: {error}") from error


def from_torch(module: Any, example: Any) -> Any:
    """A module of torch as a model of OpenVINO whose first dimension, the batch, is free.

    Args:
        module: in evaluation mode, on the CPU, with one input.
        example: its input, of more than one row.
    """
    import torch

    openvino = import_openvino()
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with torch.no_grad():
        return openvino.convert_model(torch.export.export(module, (example,), dynamic_shapes=shapes))


@cache
def import_openvino() -> Any:
    """The package ``openvino``, kept from telling its makers of the import.

    Its converter reports imports and conversions over the network where ``openvino_telemetry`` is installed, as it is
    by default; without that package it does not.

    Raises:
        MissingExtra: not installed.
    """
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("OpenVINO", extra="openvino", package=error.name) from error
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
    return openvino


class TorchTower:
    """A network of torch; on a GPU batches go there from pinned memory, and results are awaited one batch later.

    Args:
        half: from uint8 [N, S, S, 3] to float32 [N, D], see :func:`image_half`.
        device: ``torch.device``.
        number: "f32", "bf16" or "f16", the format of its weights.
    """

    def __init__(self, half: Any, device: Any, number: str) -> None:
        self.runtime = f"torch-{number}"
        self.device = str(device)
        self.half = half
        self._device = device

    def stage(self, batch: Batch) -> Any:
        import torch

        staged = torch.from_numpy(np.ascontiguousarray(batch))
        return staged.pin_memory() if self._device.type == "cuda" else staged

    def launch(self, staged: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.half(staged.to(self._device, non_blocking=True))

    def collect(self, launched: Any) -> Features:
        return np.asarray(launched.cpu().numpy(), dtype=np.float32)


def image_half(visual: Any, mean: Sequence[float], std: Sequence[float], dtype: Any) -> Any:
    """The visual tower of an open_clip network as a module from uint8 [N, S, S, 3] to unit float32 [N, D].

    Scaling and normalisation are inside, so that whoever runs it gets bytes: a quarter of the memory of floats. The
    bytes of a picture lie channel by channel already, which is the order that convolutions run fastest in.
    """
    import torch

    class ImageHalf(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.visual = visual
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

        def forward(self, pixels: Any) -> Any:
            scaled = (pixels.permute(0, 3, 1, 2).float() / 255.0 - self.mean) / self.std
            features = self.visual(scaled.to(dtype))
            return torch.nn.functional.normalize(features.float(), dim=-1)

    device = next(visual.parameters()).device
    return ImageHalf().to(device).eval()
