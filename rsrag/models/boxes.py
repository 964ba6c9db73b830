"""Arithmetic of pixel boxes: overlap, suppression of doubles, and their weighted mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
"""Left, top, right, bottom in pixels, [N, 4]; (0, 0) is the outer corner of the first pixel, so sizes need no "+1"."""


def as_boxes(values: Any) -> Boxes:
    """Anything that holds boxes as float64 [N, 4]; nothing gives [0, 4]."""
    return np.asarray(values, dtype=np.float64).reshape(-1, 4)


def areas(boxes: Boxes) -> npt.NDArray[np.float64]:
    """Areas in square pixels, [N]; 0 for a box without width or height."""
    return np.asarray(np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0))


def ious(one: Boxes, two: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of every pair in pixels, [N, M]; 0 where both are empty."""
    left, top = np.maximum(one[:, None, 0], two[None, :, 0]), np.maximum(one[:, None, 1], two[None, :, 1])
    right, bottom = np.minimum(one[:, None, 2], two[None, :, 2]), np.minimum(one[:, None, 3], two[None, :, 3])
    shared = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    union = areas(one)[:, None] + areas(two)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def clipped(boxes: Boxes, width: float, height: float) -> Boxes:
    """The part of each box inside an image."""
    limits = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(boxes, 0.0, limits)


def suppressed(
    boxes: Boxes, scores: npt.NDArray[Any], labels: npt.NDArray[Any], *, overlap: float = 0.5
) -> npt.NDArray[np.int64]:
    """Rows kept by greedy non-maximum suppression within each label, by falling score.

    Args:
        boxes: [N, 4].
        scores: [N].
        labels: [N]; boxes of different labels never suppress each other.
        overlap: a box with a higher IoU than this with a kept one of its label goes.
    """
    kept: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        while len(rows):
            kept.append(int(rows[0]))
            rest = rows[1:]
            rows = rest[ious(boxes[rows[:1]], boxes[rest])[0] <= overlap]
    order = np.array(kept, dtype=np.int64)
    return order[np.argsort(-scores[order], kind="stable")]


def voted(
    boxes: Boxes, scores: npt.NDArray[Any], labels: npt.NDArray[Any], kept: npt.NDArray[np.int64], *, overlap: float
) -> Boxes:
    """Kept boxes as the score-weighted mean of the boxes of their label that overlap them (Gidaris & Komodakis 2015).

    Returns:
        float64 [len(kept), 4].
    """
    found = np.empty((len(kept), 4), dtype=np.float64)
    for place, row in enumerate(kept):
        near = np.flatnonzero(labels == labels[row])
        near = near[ious(boxes[row : row + 1], boxes[near])[0] >= overlap]
        weights = np.asarray(scores[near], dtype=np.float64)
        found[place] = (boxes[near] * weights[:, None]).sum(axis=0) / weights.sum() if len(near) else boxes[row]
    return found
