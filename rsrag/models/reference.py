"""Vectors of the drawn pictures as an export gave them where it was made: another machine must give the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsrag.errors import BadModelFile
from rsrag.models.towers import Features

NAME = "reference.safetensors"


def write(path: Path, features: Features) -> None:
    """Keep unit vectors of :func:`rsrag.models.runtime.drawn` pictures, float32 of shape [N, D]."""
    from safetensors.numpy import save_file

    save_file({"features": np.ascontiguousarray(features, dtype=np.float32)}, path)


def read(data: bytes | None) -> Features | None:
    """What :func:`write` kept; None for a model that brings nothing.

    Raises:
        BadModelFile: the bytes are something else.
    """
    if data is None:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        features: Features = load(data)["features"]
    except (SafetensorError, KeyError) as error:
        raise BadModelFile(f"{NAME} holds no vectors: {error}") from error
    return features
