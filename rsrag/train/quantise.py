"""An int8 copy of an exported image tower, and how far its vectors are from float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsrag.train.augment import plain
from rsrag.train.config import ModelConfig
from rsrag.train.probe import Pixels

if TYPE_CHECKING:
    from rsrag.models.towers import TorchTower

_BATCH = 16


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
    from rsrag.models.quantise import int8
    from rsrag.models.towers import planes

    starts = range(0, len(pictures), _BATCH)
    int8(graph, out, (planes(np.stack([plain(p, size) for p in pictures[i : i + _BATCH]])) for i in starts))


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


def torch_tower(config: ModelConfig, number: str, sizes: Sequence[int | None] = (None,)) -> TorchTower:
    """Networks of the mini tower's shape in torch with random weights, to time them beside an export.

    Args:
        config: its shape.
        number: "f32" or "bf16".
        sizes: px that each of them sees the picture at (as it comes when None): two for a joined tower.
    """
    import torch
    from torch.nn.functional import interpolate

    from rsrag.models.towers import TorchTower
    from rsrag.train.tower import ImageTower

    dtype = torch.bfloat16 if number == "bf16" else torch.float32
    towers = torch.nn.ModuleList(ImageTower(config) for _ in sizes).eval()
    towers = towers.to(memory_format=torch.channels_last).to(dtype=dtype)

    class Half(torch.nn.Module):  # type: ignore[misc]
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            planes = (pixels.permute(0, 3, 1, 2).float() / 255.0).to(dtype)
            seen = [planes if size is None else interpolate(planes, size=(size, size), mode="area") for size in sizes]
            return torch.cat([part for tower, own in zip(towers, seen, strict=True) for part in tower(own)], dim=1)

    return TorchTower(Half(), torch.device("cpu"), number)
