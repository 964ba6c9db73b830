"""Polygons of annotations in COCO's form, and the pixels that they enclose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float64]
FARTHEST = 1e6
"""Largest coordinate of a corner, far beyond any picture that is read; GDAL loses polygons that reach much farther."""


def rings(value: Any) -> list[Ring]:
    """The parts of an annotation's polygon, [corners, 2] each, without those of fewer than three corners.

    Args:
        value: of ``segmentation``: a list of parts, one part alone, or either of them as text. Nothing, and a mask in
            run lengths (an object), have no parts.

    Raises:
        ValueError: a corner that is no number, or beyond :data:`FARTHEST`.
    """
    parts = json.loads(value) if isinstance(value, str) else value  # some exports keep polygons as text
    if parts is None or isinstance(parts, dict):
        return []
    parts = parts if parts and isinstance(parts[0], list) else [parts]
    found = [np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in parts]
    if not all((np.abs(ring) <= FARTHEST).all() for ring in found):
        raise ValueError(f"a polygon with a corner that is no number, or farther than {FARTHEST:.0f} pixels")
    return [ring for ring in found if len(ring) >= 3]


def by_picture(table: Mapping[str, Any]) -> dict[str, dict[str, list[Ring]]]:
    """Rings of a file of annotations by picture (its number as text) and class; what has none is left out.

    Raises:
        ValueError: as :func:`rings`.
        KeyError: an annotation without a picture or of a category that is not listed.
    """
    names = {entry["id"]: str(entry["name"]).replace("_", " ") for entry in table["categories"]}
    found: dict[str, dict[str, list[Ring]]] = {}
    for row in table["annotations"]:
        if parts := rings(row.get("segmentation")):
            found.setdefault(str(row["image_id"]), {}).setdefault(names[row["category_id"]], []).extend(parts)
    return found


def fill(mask: npt.NDArray[np.uint8], parts: Iterable[Ring]) -> None:
    """Set what rings enclose to 1: the pixels whose centre lies inside.

    Coordinates are continuous, as in COCO: the first pixel reaches from 0 to 1, its centre is at 0.5. Rings are filled
    one at a time, so that parts that overlap are united; one ring that crosses itself encloses what is inside it an odd
    number of times. A ring too small or too thin to hold any centre sets the pixels that it touches, so that nothing
    that is labelled goes missing.

    Args:
        mask: uint8 [H, W], changed in place.
        parts: rings as :func:`rings` reads them.
    """
    size = mask.shape[::-1]
    for ring in parts:
        left, top = np.clip(np.floor(ring.min(axis=0)), 0, size).astype(int).tolist()
        right, bottom = np.clip(np.floor(ring.max(axis=0)) + 1, 0, size).astype(int).tolist()
        if left < right and top < bottom:
            part = mask[top:bottom, left:right]
            part |= _enclosed(ring - (left, top), part.shape)


def _enclosed(ring: Ring, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """What one ring encloses in a window, or touches where it holds no centre of a pixel."""
    from rasterio.features import rasterize

    outline = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
    found = rasterize([outline], out_shape=shape, dtype=np.uint8)
    if not found.any():
        found = rasterize([outline], out_shape=shape, all_touched=True, dtype=np.uint8)
    return np.asarray(found, dtype=np.uint8)
