"""The frozen static text vectors used in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.errors import MissingExtra
from rsrag.models.static import TOKENIZER, WEIGHTS, StaticModel
from rsrag.models.vectors import unit

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "weights" / "mini" / "text"


def load_text(path: str) -> Callable[[list[str]], npt.NDArray[np.float32]]:
    """Static sentence encoder.

    Args:
        path: directory of the model; empty means the one that ships with the package.

    Returns:
        A function from sentences to float32 [N, D], unit length.

    Raises:
        MissingExtra: model2vec, which reads other models than the shipped one, is not installed.
    """
    means: Callable[[list[str]], npt.NDArray[np.float32]]
    if path:
        try:
            from model2vec import StaticModel as AnyStaticModel
        except ImportError as error:
            raise MissingExtra("a text model for training", extra="train", package="model2vec") from error

        means = AnyStaticModel.from_pretrained(path).encode
    else:
        means = StaticModel(SHIPPED, (SHIPPED / WEIGHTS).read_bytes(), (SHIPPED / TOKENIZER).read_bytes()).encode

    def encode(texts: list[str]) -> npt.NDArray[np.float32]:
        vectors = np.asarray(means(texts or [""]), dtype=np.float32)[: len(texts)]
        return unit(vectors)

    return encode
