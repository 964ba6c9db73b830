"""Views that show two pictures at once: blended over each other, or a piece of one laid into the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Blend:
    """What became of the M labelled views of a batch.

    Attributes:
        chosen: bool [M], shows two pictures.
        others: int64 [M], class of the second picture; a view's own class where there is none.
        share: float32 [M], of the view's own picture; 1 where there is no other.
    """

    chosen: Tensor
    others: Tensor
    share: Tensor


def blend(pixels: Tensor, rows: Tensor, labels: Tensor, sets: Tensor, part: float, rng: np.random.Generator) -> Blend:
    """Mix labelled views with others of their own set, in place: half of them by mixup (Zhang et al. 2018), with a
    share drawn from Beta(0.4, 0.4), half by CutMix (Yun et al. 2019), with one drawn evenly.

    Args:
        pixels: uint8 [N, 3, S, S], changed.
        rows: int64 [M], positions of the views among the pixels.
        labels: int64 [M], class number, -1 for none: such views stay as they are.
        sets: int64 [M], number of the set; only views of one set are mixed, since only their classes compete.
        part: share of the labelled views that is mixed.
        rng: source of all choices.
    """
    count, size = len(rows), pixels.shape[-1]
    chosen, share, others = torch.zeros(count, dtype=torch.bool), torch.ones(count), labels.clone()
    before = pixels.clone()
    for number in torch.unique(sets[labels >= 0]).tolist():
        own = np.flatnonzero((sets == number).numpy())
        for first, second in zip(own, rng.permutation(own), strict=True):
            if first == second or rng.random() >= part:
                continue
            row, partner = int(rows[first]), int(rows[second])
            if rng.random() < 0.5:
                kept = float(rng.beta(0.4, 0.4))
                both = kept * before[row].float() + (1 - kept) * before[partner].float()
                pixels[row] = both.round().to(torch.uint8)
            else:
                side = math.sqrt(1 - rng.random())
                tall, wide = (max(1, round(side * size)) for _ in range(2))
                top, left = int(rng.integers(0, size - tall + 1)), int(rng.integers(0, size - wide + 1))
                area = (slice(None), slice(top, top + tall), slice(left, left + wide))
                pixels[row][area] = before[partner][area]
                kept = 1 - tall * wide / size**2
            chosen[first], share[first], others[first] = True, kept, labels[second]
    return Blend(chosen, others, share)
