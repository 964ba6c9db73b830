"""An int8 copy of an exported image tower, and how far its vectors are from float32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.train.augment import plain
from rsrag.train.probe import Pixels


def quantise(graph: Path, out: Path, pictures: Sequence[Pixels], size: int) -> None:
    """Static quantisation: int8 weights by channel, uint8 activations calibrated on pictures.

    On processors without VNNI instructions ONNX Runtime's sums of uint8 times int8 can saturate: measure
    :func:`fidelity` there before trusting the result.

    Args:
        graph: float32 ONNX file with the input ``pixels``.
        out: file to write.
        pictures: a few hundred pictures like those to come, uint8 [H, W, 3].
        size: input size in px.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Batches of calibration pictures."""

        def __init__(self) -> None:
            self.batches: Iterator[Sequence[Pixels]] = (pictures[i : i + 16] for i in range(0, len(pictures), 16))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            if not batch:
                return None
            block = np.stack([plain(picture, size) for picture in batch]).transpose(0, 3, 1, 2)
            return {"pixels": np.ascontiguousarray(block, dtype=np.float32) / np.float32(255)}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )


def fidelity(folder: Path, graph: Path, pictures: Sequence[Pixels]) -> dict[str, float]:
    """Cosine of the vectors of another graph with those of ``encoder.onnx``, and the speed of both on one core.

    Args:
        folder: exported image files.
        graph: the other graph.
        pictures: pictures that were not used for calibration.

    Returns:
        Mean and smallest cosine of both vectors; milliseconds an image of both graphs.
    """
    from rsrag.train.evaluate import Exported, speed

    full, small = Exported(folder), Exported(folder, graph=graph)
    result = {"ms_float32": speed(full), "ms_int8": speed(small)}
    for name, one, other in zip(("semantic", "instance"), full.images(pictures), small.images(pictures), strict=True):
        cosines = (one * other).sum(axis=1)
        result |= {f"{name}_mean": float(cosines.mean()), f"{name}_min": float(cosines.min())}
    return result
