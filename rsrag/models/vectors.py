"""Vectors of unit length, whose products are cosines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def unit(vectors: npt.NDArray[Any], axis: int = -1) -> npt.NDArray[np.float32]:
    """Vectors scaled to length one, float32 of the same shape; zeros stay zeros.

    Args:
        vectors: of any shape and number type.
        axis: along which a vector lies.
    """
    lengths = np.linalg.norm(vectors, axis=axis, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
