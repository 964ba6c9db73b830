"""Polygons of annotations in COCO's form, and the pixels that they enclose."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int32]


def rings(value: Any) -> list[Ring]:
    """The parts of an annotation's polygon, corners rounded to pixels, without those of fewer than three.

    Args:
        value: of ``segmentation``: a list of parts, one part alone, or either of them as text. Nothing, and a mask in
            run lengths (an object), have no parts.

    Raises:
        ValueError: a corner that is no number.
    """
    parts = json.loads(value) if isinstance(value, str) else value  # some exports keep polygons as text
    if parts is None or isinstance(parts, dict):
        return []
    parts = parts if parts and isinstance(parts[0], list) else [parts]
    found = [np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in parts]
    if not all(np.isfinite(ring).all() for ring in found):
        raise ValueError("a polygon with a corner that is no number")
    return [np.round(ring).astype(np.int32) for ring in found if len(ring) >= 3]


def fill(mask: npt.NDArray[np.uint8], parts: Iterable[Ring]) -> None:
    """Set what rings enclose to 1; one at a time, since filled together parts that overlap would be holes."""
    for ring in parts:
        cv2.fillPoly(mask, [ring], 1)
