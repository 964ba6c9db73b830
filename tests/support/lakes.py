"""A made scene of four bands: grass with a square lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasters import TEN_METRES, UTM31, write_tiff

SIDE = 160
LAKE = (slice(40, 120), slice(30, 110))


def bands(dtype: str = "uint16") -> npt.NDArray[Any]:
    """Red, green, blue and near infrared of grass with a square lake of 80 × 80 pixels."""
    rng = np.random.default_rng(0)
    grass, water = (700, 900, 500, 4000), (300, 600, 500, 150)
    data = np.empty((4, SIDE, SIDE))
    for n in range(4):
        data[n] = grass[n]
        data[n][LAKE] = water[n]
    data *= rng.normal(1, 0.03, data.shape)
    return (data if dtype == "uint16" else np.clip(data / 16, 1, 255)).astype(dtype)


def scene(path: Path, **options: Any) -> Path:
    names = ("red", "green", "blue", "nir")
    return write_tiff(path, bands(), descriptions=names, crs=UTM31, transform=TEN_METRES, **options)
