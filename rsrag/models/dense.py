"""Feature maps of the shipped image towers: what detectors, maps and segmenters of the default profile stand on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.models.base import Picture
from rsrag.models.described import PARTED_FROM, read_described
from rsrag.models.towers import ort_session

Maps = dict[str, npt.NDArray[np.float32]]
SHIPPED = Path(__file__).parent / "weights" / "mini" / "dense"
CELLS = SHIPPED.with_name("cells")
MULTIPLE = 32
"""Sides of the input are made multiples of this, by repeating the edge."""


class DenseEncoder:
    """The trunk of a ``mini`` image tower at every position, run by ONNX Runtime.

    Maps of the base tower: ``fine`` [128, H/8, W/8], ``middle`` [256, H/16, W/16], ``coarse`` [512, H/32, W/32], and
    ``semantic`` [256, H/32, W/32], the text-aligned vector of every cell, not of unit length. The words tower, which
    tells classes apart better, gives the last one alone (:func:`shipped_cells`).

    Args:
        directory: holds ``encoder.onnx`` and ``config.json`` as :mod:`rsrag.train.dense` writes them.

    Raises:
        BadModelFile: a file is missing or not the one described.
    """

    def __init__(self, directory: Path = SHIPPED) -> None:
        self._graph = directory / "encoder.onnx"
        self._config = read_described(directory, ["encoder.onnx"], "feature maps")
        self.strides: dict[str, int] = {name: int(step) for name, step in self._config["strides"].items()}
        digest = str(self._config.get(PARTED_FROM) or self._config["sha256"]["encoder.onnx"])
        self.fingerprint = f"{self._config.get('name', 'mini-dense')}:{digest[:16]}"

    @cached_property
    def _session(self) -> Any:
        return ort_session(self._graph)

    def maps(self, picture: Picture, names: Sequence[str] = ()) -> Maps:
        """Feature maps of a picture of any size.

        Args:
            picture: uint8 RGB [H, W, 3]; about 100 px across a scene is what the tower was trained on.
            names: which maps; all of them where none is named.

        Returns:
            For every name float32 [C, ceil(H / stride), ceil(W / stride)].
        """
        names = list(names or self.strides)
        height, width = picture.shape[:2]
        below, right = -height % MULTIPLE, -width % MULTIPLE
        padded = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
        pixels = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        found = self._session.run(names, {"pixels": pixels})
        sizes = {name: (-(-height // self.strides[name]), -(-width // self.strides[name])) for name in names}
        return {
            name: np.asarray(values[0, :, : sizes[name][0], : sizes[name][1]], dtype=np.float32)
            for name, values in zip(names, found, strict=True)
        }


@cache
def shipped() -> DenseEncoder:
    """The maps of the base tower, read once a process.

    Raises:
        BadModelFile: as when it is made.
    """
    return DenseEncoder()


@cache
def shipped_cells() -> DenseEncoder:
    """The text-aligned vectors of the words tower, read once a process.

    Raises:
        BadModelFile: as when it is made.
    """
    return DenseEncoder(CELLS)
