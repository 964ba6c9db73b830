"""Pictures in several turns, whose vectors are averaged: seen from straight above, no direction is up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsrag.errors import UsageError
from rsrag.models.base import ImageEncoder, Picture, Vectors
from rsrag.models.vectors import unit


def turned(picture: Picture, turns: int) -> list[Picture]:
    """The picture in 1, 2, 4 or 8 turns and mirror images.

    Raises:
        UsageError: another number.
    """
    if turns not in (1, 2, 4, 8):
        raise UsageError(f"{turns} turns", hint="1, 2, 4 or 8")
    flat = [np.ascontiguousarray(np.rot90(picture, k)) for k in range(min(turns, 4))]
    return flat + [np.ascontiguousarray(p[:, ::-1]) for p in flat] if turns == 8 else flat


def vectors_of(encoder: ImageEncoder, pictures: Sequence[Picture], turns: int) -> Vectors:
    """Mean of the vectors of all turns of each picture, unit length, float32 [N, dim]."""
    everything = [view for picture in pictures for view in turned(picture, turns)]
    vectors = encoder.encode_images(everything)
    return unit(vectors.reshape(len(pictures), turns, -1).mean(axis=1))
