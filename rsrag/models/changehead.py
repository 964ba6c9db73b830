"""The small trained network that tells changed from unchanged ground on the frozen encoder's maps of two dates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.errors import BadModelFile
from rsrag.models.base import Picture
from rsrag.models.dense import SHIPPED as DENSE
from rsrag.models.dense import DenseEncoder
from rsrag.models.dense import shipped as shipped_maps
from rsrag.models.described import check_encoder, read_described
from rsrag.models.towers import ort_session

SHIPPED = DENSE.parent / "change"
ZOOM = 2
"""The picture is enlarged so much before the encoder sees it: houses are smaller than the scenes it was trained on."""
CELL = 4
"""Side of a cell of the network's grid in pixels of the picture."""
LEVELS = ("fine", "middle")
CHANNELS = 384
LOOK = 5
"""Channels that describe the pixels themselves: standardised colour, edges, saturation."""
MARGIN = 64
"""Pixels around a window that the network should see."""
Stack = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """Mean and standard deviation of a whole picture's channels, each [3]: colours are told relative to them."""

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


def colours_of(pixels: npt.NDArray[Any]) -> Colours:
    """Of pixels [..., 3]; zero and one for none."""
    flat = np.asarray(pixels, dtype=np.float64).reshape(-1, 3)
    if not len(flat):
        return Colours(np.zeros(3), np.ones(3))
    return Colours(flat.mean(axis=0), np.maximum(flat.std(axis=0), 8.0))


def describe(encoder: DenseEncoder, picture: Picture, colours: Colours) -> Stack:
    """What the network sees of one date: float32 [CHANNELS + LOOK, ceil(H / 4), ceil(W / 4)].

    Encoder maps at stride 4 and 8 of the picture, each cell of unit length, brought to one grid, then
    colour relative to the scene's, edge strength and saturation, averaged over the cell.

    Args:
        encoder: of the maps.
        picture: uint8 RGB [H, W, 3].
        colours: of the whole scene.
    """
    height, width = picture.shape[:2]
    size = -(-width // CELL), -(-height // CELL)
    padded = np.pad(picture, ((0, size[1] * CELL - height), (0, size[0] * CELL - width), (0, 0)), mode="edge")
    large = cv2.resize(padded, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    found = encoder.maps(np.asarray(large, dtype=np.uint8), LEVELS)
    layers = [_spread(found[name], encoder.strides[name] // ZOOM // CELL, size) for name in LEVELS]
    return np.concatenate([*layers, _look(padded, colours, size)]).astype(np.float32)


def _spread(maps: Stack, factor: int, size: tuple[int, int]) -> Stack:
    """Unit vectors of a map's cells on the finer grid, interpolated between cell centres."""
    unit = maps / (np.linalg.norm(maps, axis=0, keepdims=True) + 1e-6)
    if factor > 1:
        full = (unit.shape[2] * factor, unit.shape[1] * factor)
        unit = np.stack([cv2.resize(layer, full, interpolation=cv2.INTER_LINEAR) for layer in unit])
    return np.asarray(unit[:, : size[1], : size[0]], dtype=np.float32)


def _look(picture: Picture, colours: Colours, size: tuple[int, int]) -> Stack:
    colour = (picture - colours.mean) / colours.spread
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, (0, 0), 1.0)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    vivid = (picture.max(axis=2).astype(np.float32) - picture.min(axis=2)) / 64
    whole = np.dstack([np.clip(colour, -4, 4).astype(np.float32), np.minimum(edges, 2) * 4, vivid])
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1), dtype=np.float32)


class ChangeHead:
    """Probability of change a cell, run by ONNX Runtime.

    Args:
        directory: holds ``head.onnx`` and ``config.json`` as :mod:`rsrag.train.change` writes them.

    Raises:
        BadModelFile: a file is missing or not the one described, or it was trained on another encoder.
    """

    def __init__(self, directory: Path = SHIPPED, encoder: DenseEncoder | None = None) -> None:
        self._graph = directory / "head.onnx"
        config = read_described(directory, ["head.onnx"], "change network")
        try:
            self.threshold = float(config["threshold"])
        except (KeyError, ValueError, TypeError) as error:
            raise BadModelFile(f"no change network in {directory}: {error}") from error
        self.encoder = encoder or shipped_maps()
        check_encoder(directory, config, self.encoder.fingerprint, "rsrag.train.change")
        self.fingerprint = f"mini-change:{config['sha256']['head.onnx'][:16]}"

    @cached_property
    def _session(self) -> Any:
        return ort_session(self._graph)

    def probability(self, before: Picture, after: Picture, colours: tuple[Colours, Colours]) -> Stack:
        """Probability of change a pixel, float32 [H, W].

        Args:
            before: uint8 RGB [H, W, 3].
            after: the same size.
            colours: of both whole scenes.
        """
        height, width = before.shape[:2]
        one = describe(self.encoder, before, colours[0])
        two = describe(self.encoder, after, colours[1])
        (found,) = self._session.run(None, {"before": one[None], "after": two[None]})
        full = (found.shape[3] * CELL, found.shape[2] * CELL)
        smooth = cv2.resize(found[0, 0], full, interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(smooth[:height, :width], 0, 1), dtype=np.float32)


@cache
def shipped() -> ChangeHead:
    """The one that ships, read once a process.

    Raises:
        BadModelFile: as when it is made.
    """
    return ChangeHead()
