"""Metrics of boxes: average precision at an IoU, accuracy of single answers, and the error of counts.

Average precision is the area under the precision-recall curve with precision made monotone ("all points", PASCAL VOC
from 2010 on). COCO samples the same curve at 101 recalls; the two differ by less than a point on sets of this size.
Matching is COCO's: within an image, predictions by falling score take the free box of highest IoU. IoU is measured in
pixels, without a "+1" on sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsrag.models.boxes import Boxes, as_boxes, ious

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Predictions of one class in one image: boxes [N, 4] and scores [N]."""

    boxes: Boxes
    scores: Floats


NOTHING = Found(as_boxes([]), np.zeros(0))


def hits(found: Found, truth: Boxes, threshold: float) -> npt.NDArray[np.bool_]:
    """Which predictions are right: each takes, by falling score, the free true box with the highest IoU."""
    right = np.zeros(len(found.scores), dtype=np.bool_)
    free = np.ones(len(truth), dtype=np.bool_)
    overlaps = ious(found.boxes, truth)
    for row in np.argsort(-found.scores, kind="stable"):
        candidates = np.where(free, overlaps[row], -1.0)
        if len(candidates) and candidates.max() >= threshold:
            free[int(candidates.argmax())] = False
            right[row] = True
    return right


def average_precision(found: Mapping[str, Found], truth: Mapping[str, Boxes], threshold: float = 0.5) -> float | None:
    """Average precision of one class over a set of images.

    Args:
        found: predictions by image.
        truth: true boxes by image.
        threshold: least IoU of a hit, in pixels.

    Returns:
        0 to 1; None when there is no true box.
    """
    total = sum(len(boxes) for boxes in truth.values())
    if total == 0:
        return None
    scores, right = [], []
    for image, own in found.items():
        scores.append(own.scores)
        right.append(hits(own, truth.get(image, as_boxes([])), threshold))
    if not scores:
        return 0.0
    order = np.argsort(-np.concatenate(scores), kind="stable")
    good = np.concatenate(right)[order]
    return area_under(np.cumsum(good), np.arange(1, len(good) + 1), total)


def area_under(right: npt.NDArray[np.int64], given: npt.NDArray[np.int64], total: int) -> float:
    """Area under the curve of running counts: right answers, given answers, and true boxes in all."""
    recall = np.concatenate([[0.0], right / total])
    precision = np.concatenate([[0.0], right / given])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def accuracy_at(overlaps: Sequence[float], threshold: float) -> float:
    """Share of single answers whose IoU with the truth reaches a threshold; 0 for none."""
    return float(np.mean([value >= threshold for value in overlaps])) if overlaps else 0.0


def count_error(pairs: Sequence[tuple[int, int]]) -> float:
    """Mean absolute difference of counted and true numbers; 0 for none."""
    return float(np.mean([abs(counted - true) for counted, true in pairs])) if pairs else 0.0
