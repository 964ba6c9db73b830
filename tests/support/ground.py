"""Invented ground of fields in several sizes and directions, and squares cut from it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def ground(seed: int, side: int = 768, fields: int = 140) -> Picture:
    """Fields laid over each other, uint8 [side, side, 3]."""
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 90, np.uint8)
    for _ in range(fields):
        centre, size = rng.uniform(0, side, 2), rng.uniform(30, 140, 2)
        corners = cv2.boxPoints((tuple(centre), tuple(size), float(rng.uniform(0, 90))))
        cv2.fillPoly(picture, [corners.astype(np.int32)], tuple(int(v) for v in rng.integers(20, 235, 3)))
    return picture


def cut(picture: Picture, centre: tuple[float, float], angle: float, side: float, out: int = 256) -> Picture:
    """A square of ``side`` pixels around a point, turned by ``angle`` in radians, shown with ``out`` pixels a side."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * side / out
    matrix = np.column_stack([turn, np.array(centre) - turn @ np.array([out / 2, out / 2])])
    return np.asarray(cv2.warpAffine(picture, matrix, (out, out), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
