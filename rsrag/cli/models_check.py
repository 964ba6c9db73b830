"""Whether the models of a profile load and give what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rsrag.config import Settings
from rsrag.errors import ModelError, RsragError
from rsrag.models.base import ModelRow
from rsrag.models.registry import load, rows_of


@dataclass(frozen=True, slots=True)
class Check:
    """One model: whether it can be used, and its fingerprint or what is wrong."""

    role: str
    name: str
    ok: bool
    detail: str


def check_profile(settings: Settings) -> list[Check]:
    """Load every model of the profile and run it once on something tiny."""
    return [_check(role, row, settings) for role, row in rows_of(settings).items()]


def _check(role: str, row: ModelRow, settings: Settings) -> Check:
    try:
        model = load(row, settings)
        _run_once(role, row, model)
        return Check(role, row.name, True, str(model.fingerprint))
    except (RsragError, OSError) as error:
        return Check(role, row.name, False, str(error))


def _run_once(role: str, row: ModelRow, model: Any) -> None:
    if role == "image":
        side = row.input_size or 64
        gradient = np.linspace(0, 255, side * side * 3).reshape(side, side, 3).astype(np.uint8)
        _check_vector(row, model.encode_images([gradient]), model.dim)
        _check_vector(row, model.encode_words(["a lake"]), model.dim)
    elif role == "text":
        _check_vector(row, model.encode_questions(["Which lake is this?"]), model.dim)
        _check_vector(row, model.encode_passages(["A lake."]), model.dim)
    elif role == "reranker":
        score = model.score("Which lake is this?", ["A lake."])
        if np.shape(score) != (1,) or not np.isfinite(score).all():
            raise ModelError(f"{row.name} gave no usable score")


def _check_vector(row: ModelRow, vectors: Any, dim: int) -> None:
    if vectors.shape != (1, dim):
        raise ModelError(f"{row.name} gave vectors of shape {vectors.shape}, expected (1, {dim})")
    if not np.isfinite(vectors).all() or abs(float(np.linalg.norm(vectors[0])) - 1) > 1e-2:
        raise ModelError(f"{row.name} gave a vector that is not finite or not of unit length")
