"""Parts of the shipped image tower, cut out of its graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rsrag
from rsrag.models.towers import planes

GRAPH = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "image" / "encoder.onnx"


def semantic_of(tower: str, pictures: Sequence[np.ndarray], folder: Path) -> np.ndarray:
    """Semantic vectors of one of the joined towers, whose maps ship: float32 [N, 256], of uint8 pictures [S, S, 3]."""
    import onnx
    import onnxruntime

    cut = folder / f"{tower}.onnx"
    onnx.utils.extract_model(str(GRAPH), str(cut), ["pixels"], [f"{tower}.semantic"], check_model=False)
    session = onnxruntime.InferenceSession(str(cut), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": planes(np.stack(pictures))})[0]
