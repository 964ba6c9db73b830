"""Which classes a picture is told apart among."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rsrag.train.config import OptimConfig  # noqa: E402
from rsrag.train.data import build_texts  # noqa: E402
from rsrag.train.objective import Objective  # noqa: E402

NAMES = {
    "a/field": ["baseball field", "baseball diamond"],
    "a/lake": ["lake"],
    "b/diamond": ["baseball diamond"],
    "b/town": ["town"],
}


def objective(shared: bool) -> Objective:
    texts = build_texts([], NAMES)
    rows = torch.zeros(len(texts.sentences), 4)
    return Objective(OptimConfig(class_weight=1.0, shared_classes=shared), texts, rows, torch.device("cpu"))


def test_a_picture_has_its_class_alone_by_default() -> None:
    rows, columns = objective(False)._as_classes(torch.tensor([2, 0, 1]))
    assert rows.tolist() == [0, 1, 2] and columns.tolist() == [2, 0, 1]


def test_a_class_of_the_same_name_in_another_set_counts_too() -> None:
    found = objective(True)
    rows, columns = found._as_classes(torch.tensor([2, 0, 1]))
    pairs = sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 2), (1, 0), (1, 2), (2, 1)]
    assert np.array_equal(found.sets.numpy(), [0, 0, 1, 1])
