"""Metrics of masks: IoU by class and over everything, and agreement of boundaries.

``mIoU`` is the mean over classes of intersection over union summed over all images (PASCAL VOC), ``cIoU`` the same sum
over all classes together, as in referring segmentation (Yu et al. 2016), ``gIoU`` the mean over single masks of what a
picture shows. The boundary measure, over the same masks, is that of Perazzi et al. 2016 (DAVIS): F of the boundary
pixels that have a counterpart within 0.8 % of the picture's diagonal.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
TOLERANCE = 0.008


@dataclass(eq=False)
class Tally:
    """Intersections and unions, counted mask by mask.

    Where a picture does not show a class, an answer that it is there counts in the sums of its class, as in PASCAL VOC;
    the means over single masks leave such a picture out, since nothing can be found in it.
    """

    shared: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    union: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    single: list[float] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)

    def add(self, label: str, found: Mask, truth: Mask, known: Mask | None = None) -> None:
        """Count a mask.

        Args:
            label: its class.
            found: bool [H, W].
            truth: bool [H, W].
            known: where the truth is known; everywhere when None.
        """
        if known is not None:
            found, truth = found & known, truth & known
        shared, union = int(np.count_nonzero(found & truth)), int(np.count_nonzero(found | truth))
        self.shared[label] += shared
        self.union[label] += union
        if truth.any():
            self.single.append(shared / union)
            self.edges.append(boundary_f(found, truth))

    def include(self, other: Tally) -> None:
        """Count what another one has counted."""
        for label, value in other.shared.items():
            self.shared[label] += value
        for label, value in other.union.items():
            self.union[label] += value
        self.single.extend(other.single)
        self.edges.extend(other.edges)

    def by_class(self) -> dict[str, float]:
        """IoU of each class, without those of which neither truth nor answer has a pixel."""
        return {c: self.shared[c] / u for c, u in self.union.items() if u}

    def figures(self) -> dict[str, float]:
        """``mIoU``, ``cIoU``, ``gIoU`` and ``boundary F``; 0 for no masks."""
        classes = list(self.by_class().values())
        total = sum(self.union.values())
        return {
            "mIoU": float(np.mean(classes)) if classes else 0.0,
            "cIoU": sum(self.shared.values()) / total if total else 0.0,
            "gIoU": float(np.mean(self.single)) if self.single else 0.0,
            "boundary F": float(np.mean(self.edges)) if self.edges else 0.0,
        }


def iou(found: Mask, truth: Mask) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int(np.count_nonzero(found | truth))
    return int(np.count_nonzero(found & truth)) / union if union else 1.0


def boundary_f(found: Mask, truth: Mask, tolerance: float = TOLERANCE) -> float:
    """F of boundary pixels that lie within a share of the diagonal of the other boundary; 1 for two empty masks."""
    reach = max(1, math.ceil(tolerance * math.hypot(*truth.shape)))
    ours, theirs = boundary(found), boundary(truth)
    if not ours.any() and not theirs.any():
        return 1.0
    if not ours.any() or not theirs.any():
        return 0.0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    precision = float((ours & _grown(theirs, kernel)).sum() / ours.sum())
    recall = float((theirs & _grown(ours, kernel)).sum() / theirs.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Mask) -> Mask:
    """Pixels of a mask with a 4-neighbour outside of it; the picture's own edge is no boundary."""
    wide = np.pad(mask, 1, mode="edge")
    inner = wide[1:-1, :-2] & wide[1:-1, 2:] & wide[:-2, 1:-1] & wide[2:, 1:-1]
    return np.asarray(mask & ~inner, dtype=np.bool_)


def _grown(mask: Mask, kernel: Any) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0, dtype=np.bool_)
