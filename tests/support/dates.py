"""Two dates of made-up ground with known change: a field with texture, and blocks that appear on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rasters import TEN_METRES, UTM31, write_tiff

Picture = npt.NDArray[np.uint8]
RGB = ["red", "green", "blue"]


def ground(width: int = 160, height: int = 128, seed: int = 3) -> Picture:
    """Textured brown and green ground, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    rough = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 3)
    fine = rng.normal(0, 1, (height, width)).astype(np.float32)
    rough = rough / rough.std()
    base = np.dstack([120 + 22 * rough, 112 + 14 * rough, 84 + 12 * rough]) + 5 * fine[..., None]
    base += rng.normal(0, 2, base.shape)
    return np.clip(base, 1, 250).astype(np.uint8)


def built(picture: Picture, boxes: Sequence[tuple[int, int, int, int]], value: Any = (215, 130, 100)) -> Picture:
    """The picture with bright blocks (left, top, right, bottom)."""
    other = picture.copy()
    for left, top, right, bottom in boxes:
        other[top:bottom, left:right] = value
    return other


def truth(picture: Picture, boxes: Sequence[tuple[int, int, int, int]]) -> npt.NDArray[np.bool_]:
    """Where the blocks are."""
    mask = np.zeros(picture.shape[:2], dtype=np.bool_)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def relit(picture: Picture, seed: int = 9) -> Picture:
    """The same ground in other light, with other noise."""
    rng = np.random.default_rng(seed)
    return np.clip(picture * np.array([1.1, 1.05, 0.95]) + 6 + rng.normal(0, 2, picture.shape), 1, 250).astype(np.uint8)


def write(
    path: Path, picture: Picture, *, transform: Sequence[float] = TEN_METRES, crs: str = UTM31, **more: Any
) -> Path:
    """The picture as an RGB GeoTIFF of ten metres a pixel; a date in the file's name is its time."""
    data = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return write_tiff(path, data, transform=transform, crs=crs, colours=RGB, photometric="RGB", **more)


def multiband(path: Path, water: npt.NDArray[np.bool_], *, seed: int = 1, width: int = 120, height: int = 96) -> Path:
    """Four named bands, green red nir swir16, with vegetation everywhere but where there is water."""
    rng = np.random.default_rng(seed)
    plants, wet = np.array([60, 40, 180, 90]), np.array([50, 40, 20, 8])
    texture = np.random.default_rng(5).normal(0, 1, (height, width))
    data = np.where(
        water[None], wet[:, None, None], plants[:, None, None] + np.array([4, 4, 18, 8])[:, None, None] * texture
    )
    data = np.clip(data + rng.normal(0, 1.5, data.shape), 1, 250).astype(np.uint8)
    return write_tiff(path, data, descriptions=["green", "red", "nir", "swir16"])
