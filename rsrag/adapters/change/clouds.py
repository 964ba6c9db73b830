"""Clouds in pictures of coarse imagery: bright, nearly white, and wide."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.models.base import Picture

COARSE_M = 8.0
"""Metres a pixel from which bright white areas are taken for clouds; below, they are roofs."""
_BRIGHT, _SPAN = 205, 36
_OPEN, _GROW = 5, 9


def clouds(picture: Picture) -> npt.NDArray[np.bool_]:
    """Where a picture, uint8 RGB [h, w, 3], shows clouds: bool [h, w].

    All channels above 205 and within 36 of one another, over more than 5 pixels, and 4 pixels around. Haze, thin
    clouds and shadows are not found.
    """
    low, high = picture.min(axis=2), picture.max(axis=2)
    white = ((low > _BRIGHT) & (high - low < _SPAN)).astype(np.uint8)
    if not white.any():
        return np.zeros(white.shape, dtype=np.bool_)
    wide = cv2.morphologyEx(white, cv2.MORPH_OPEN, np.ones((_OPEN, _OPEN), np.uint8))
    return np.asarray(cv2.dilate(wide, np.ones((_GROW, _GROW), np.uint8)) > 0)
