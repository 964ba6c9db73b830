"""Pictures whose pixels are labelled, and their maps by the frozen encoder, computed once and kept on disk."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.errors import UsageError
from rsrag.eval.datasets.polygons import by_picture, fill
from rsrag.models.base import Picture
from rsrag.models.dense import DenseEncoder
from rsrag.models.groundviews import CELL, aligned
from rsrag.train import detector_cache as maps
from rsrag.train.augment import Strength, recolour, turned
from rsrag.train.detector_cells import grid_of

Bits = npt.NDArray[np.uint16]
COVERS: Mapping[int, str] = {0: "building", 80: "vegetation", 120: "water", 160: "bare ground", 200: "vehicle"}
"""Grey values of the drone chips' label maps; the order is that of DroneDeploy's list. 40, clutter, is not learned."""
NEIGHBOURS, APART = 5, 20
"""Numbers of pictures (VHR-10) and of chips of one flight that may show one place."""
_ZOOMS = {"things": (0.75, 1.25), "covers": (0.45, 1.25)}
"""Sizes of views relative to the picture: chips of few flights are all of one scale, scenes to come are not."""
_COLOURS = Strength(colour=0.6)
UNKNOWN = np.uint16(1 << 15)
"""Bit of a pixel whose class is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """A picture with its classes pixel by pixel.

    Attributes:
        key: names it in the cache.
        source: which set it is of.
        group: pictures of one group may show one place.
        picture: uint8 RGB [H, W, 3].
        bits: of every pixel the classes that it shows, one bit each, and :data:`UNKNOWN`, [H, W].
        asked: numbers of the classes that are labelled in this set.
    """

    key: str
    source: str
    group: str
    picture: Picture
    bits: Bits
    asked: tuple[int, ...]


def read_things(archive: Path, classes: Sequence[str]) -> list[Outlined]:
    """The pictures of VHR-10's zip with their polygons; every class of its list is labelled.

    Raises:
        UsageError: no such file, or not in that form.
    """
    names, rows = maps.read_coco(archive)
    asked = tuple(classes.index(name) for name in names)
    try:
        with zipfile.ZipFile(archive) as opened:
            polygons = by_picture(json.loads(opened.read("annotations.json")))
            found = []
            for row in rows:
                picture = maps.read_picture(opened, f"images/{row.member}")
                bits = np.zeros(picture.shape[:2], dtype=np.uint16)
                for label, parts in polygons.get(row.key, {}).items():
                    own = np.zeros(picture.shape[:2], dtype=np.uint8)
                    fill(own, parts)
                    bits |= own.astype(np.uint16) << classes.index(label)
                group = f"things {int(''.join(filter(str.isdigit, row.key)) or 0) // NEIGHBOURS}"
                found.append(Outlined(f"things-{row.key}", "things", group, picture, bits, asked))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UsageError(f"cannot read {archive}: {error!r}") from error
    return found


def read_covers(archive: Path, classes: Sequence[str]) -> list[Outlined]:
    """The drone chips with their label maps.

    Raises:
        UsageError: no such file, or not in that form.
    """
    asked = tuple(classes.index(name) for name in COVERS.values())
    try:
        with zipfile.ZipFile(archive) as opened:
            members = sorted(n for n in opened.namelist() if n.startswith("images/") and not n.endswith("/"))
            labels = {Path(n).stem: n for n in opened.namelist() if n.startswith("labels/") and not n.endswith("/")}
            found = []
            for member in members:
                stem = Path(member).stem
                picture = maps.read_picture(opened, member)
                values = maps.read_picture(opened, labels[stem])[..., 0]
                bits = np.full(values.shape, UNKNOWN, dtype=np.uint16)
                for value, name in COVERS.items():
                    bits[values == value] = 1 << classes.index(name)
                flight, _, number = stem.rpartition("-")
                group = f"{flight} {int(number) // APART}"
                found.append(Outlined(f"covers-{stem}", "covers", group, picture, bits, asked))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UsageError(f"cannot read {archive}: {error!r}") from error
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A view of a picture, sides aligned to cells.

    Attributes:
        grid: projected maps, float16 [rows, cols, channels], on disk.
        picture: uint8 [H, W, 3].
        bits: as in :class:`Outlined`; what was added to align the sides is unknown.
    """

    grid: npt.NDArray[np.float16]
    picture: Picture
    bits: Bits


class Views:
    """Views of pictures from a cache, each computed at its first use.

    Args:
        cache: folder.
        projection: of the maps.
    """

    def __init__(self, cache: Path, projection: Mapping[str, Any]) -> None:
        self._cache, self._projection = cache, projection
        self._encoder = DenseEncoder()
        cache.mkdir(parents=True, exist_ok=True)

    def view(self, row: Outlined, view: int) -> Shown:
        """A picture as it is (0), or turned, larger or smaller and in other colours."""
        picture, bits = (
            (row.picture, row.bits) if view == 0 else altered(row, np.random.default_rng([view, *row.key.encode()]))
        )
        path = self._cache / f"{row.key}_{view}.npy"
        if not path.exists():
            found = maps.projected(self._encoder, picture, self._projection)
            values = grid_of(found)[0].permute(1, 2, 0).numpy().astype(np.float16)
            part = path.with_name(f".{path.name}.part.npy")
            np.save(part, values)
            part.replace(path)
        grid = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = aligned(picture)
        wide = np.full(whole.shape[:2], UNKNOWN, dtype=np.uint16)
        wide[: bits.shape[0], : bits.shape[1]] = bits
        return Shown(grid, whole, wide)


def altered(row: Outlined, rng: np.random.Generator) -> tuple[Picture, Bits]:
    """A picture turned, larger or smaller and in other colours, and its classes likewise."""
    turn, zoom = int(rng.integers(8)), math.exp(rng.uniform(*np.log(_ZOOMS[row.source])))
    size = tuple(max(2 * CELL, round(side * zoom)) for side in row.bits.shape[::-1])
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(row.picture, size, interpolation=how), dtype=np.uint8)
    bits = cv2.resize(row.bits, size, interpolation=cv2.INTER_NEAREST)
    picture = recolour(turned(picture, turn), _COLOURS, rng)
    return picture, turned(bits, turn).astype(np.uint16)


def cut(shown: Shown, side: int, rng: np.random.Generator) -> Shown:
    """A random square of ``side`` cells of a view, or all of it where it is smaller, filled up with the unknown."""
    rows, cols = shown.grid.shape[:2]
    top, left = (int(rng.integers(max(0, size - side) + 1)) for size in (rows, cols))
    grid = np.zeros((side, side, shown.grid.shape[2]), dtype=np.float16)
    picture = np.zeros((side * CELL, side * CELL, 3), dtype=np.uint8)
    bits = np.full((side * CELL, side * CELL), UNKNOWN, dtype=np.uint16)
    own = shown.grid[top : top + side, left : left + side]
    grid[: own.shape[0], : own.shape[1]] = own
    pixels = slice(top * CELL, (top + side) * CELL), slice(left * CELL, (left + side) * CELL)
    seen = shown.picture[pixels]
    picture[: seen.shape[0], : seen.shape[1]] = seen
    bits[: seen.shape[0], : seen.shape[1]] = shown.bits[pixels]
    return Shown(grid, picture, bits)
