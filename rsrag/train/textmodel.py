"""The frozen static text vectors used in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.errors import MissingExtra

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "weights" / "mini" / "text"


def load_text(path: str) -> Callable[[list[str]], npt.NDArray[np.float32]]:
    """Static sentence encoder.

    Args:
        path: directory of the model; empty means the one that ships with the package.

    Returns:
        A function from sentences to float32 [N, D], unit length.

    Raises:
        MissingExtra: model2vec is not installed.
    """
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingExtra("a text model for training", extra="train", package="model2vec") from error

    model = StaticModel.from_pretrained(path or str(SHIPPED))

    def encode(texts: list[str]) -> npt.NDArray[np.float32]:
        if not texts:
            return np.zeros((0, model.dim), dtype=np.float32)
        vectors = np.asarray(model.encode(texts), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    return encode
