"""Parts of the shipped image tower, cut out of its graph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rsrag
from rsrag.models.towers import planes

IMAGE = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "image"
CONFIG = json.loads((IMAGE / "config.json").read_text(encoding="utf-8"))
SIZES = {"words": CONFIG["input_size"], "base": CONFIG["joined"]["base_size"]}
"""Pixels that each of the joined towers sees."""


def semantic_of(tower: str, pictures: Sequence[np.ndarray], folder: Path) -> np.ndarray:
    """Semantic vectors of one of the joined towers, whose maps ship: float32 [N, 256], of uint8 pictures [S, S, 3].

    S is the tower's of :data:`SIZES`: the base is asked behind the reduction of its pictures.
    """
    import onnx
    import onnxruntime

    cut, seen = folder / f"{tower}.onnx", "base.pixels" if SIZES[tower] < CONFIG["input_size"] else "pixels"
    graph = str(IMAGE / "encoder.onnx")
    onnx.utils.extract_model(graph, str(cut), [seen], [f"{tower}.semantic"], check_model=False)
    session = onnxruntime.InferenceSession(str(cut), providers=["CPUExecutionProvider"])
    return session.run(None, {seen: planes(np.stack(pictures))})[0]
