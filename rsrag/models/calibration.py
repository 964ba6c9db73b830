"""From cosines to probabilities: the temperature measured for an encoder, kept as data beside its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.models.vectors import unit

SHIPPED = Path(__file__).parent / "weights" / "mini" / "classify.json"
UNFITTED = 0.01
"""CLIP's temperature, for encoders that none was fitted for."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How cosines of one encoder become probabilities.

    Attributes:
        temperature: divides the cosines before the softmax (Guo et al. 2017).
        fitted: whether it was measured for this encoder.
    """

    temperature: float
    fitted: bool


def calibration(fingerprint: str, path: Path = SHIPPED) -> Calibration:
    """The temperature of an encoder, by its fingerprint; CLIP's when none was fitted for it."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Calibration(UNFITTED, False)
    found = table.get("temperatures", {}).get(fingerprint)
    return Calibration(float(found), True) if isinstance(found, float) and found > 0 else Calibration(UNFITTED, False)


def softmax(scores: npt.NDArray[Any], temperature: float, axis: int = -1) -> Array:
    """Probabilities of scores over a temperature, float64 of the same shape."""
    logits = np.asarray(scores, dtype=np.float64) / temperature
    odds = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(odds / odds.sum(axis=axis, keepdims=True))


def bank_vectors(
    encode: Any, names: Sequence[Sequence[str]], templates: Sequence[str], *, batch: int = 512
) -> npt.NDArray[np.float32]:
    """One vector a class: mean over its names in every template, of unit length (Radford et al. 2021, 3.1.4).

    Args:
        encode: texts to unit vectors, float32 [N, dim].
        names: for every class its names.
        templates: sentences with ``{}`` where the name goes.
        batch: texts encoded at once.

    Returns:
        float32 [C, dim].
    """
    texts = [template.replace("{}", name) for group in names for name in group for template in templates]
    parts = [encode(texts[start : start + batch]) for start in range(0, len(texts), batch)]
    vectors, rows, start = np.concatenate(parts), [], 0
    for group in names:
        count = len(group) * len(templates)
        rows.append(vectors[start : start + count].mean(axis=0))
        start += count
    return unit(np.stack(rows))
