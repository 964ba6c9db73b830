"""Which classes a picture is told apart among."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rsrag.train.blend import Blend  # noqa: E402
from rsrag.train.config import OptimConfig  # noqa: E402
from rsrag.train.data import build_texts  # noqa: E402
from rsrag.train.objective import Objective, Pairs  # noqa: E402

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


def pairs(labels: list[int], mixed: Blend | None = None) -> Pairs:
    numbers = torch.arange(len(labels))
    return Pairs(numbers, slice(0, len(labels)), numbers, torch.tensor(labels), mixed)


def test_a_picture_has_its_class_alone_by_default() -> None:
    rows, columns, weights = objective(False)._as_classes(pairs([2, -1, 0, 1]))
    assert rows.tolist() == [0, 2, 3] and columns.tolist() == [2, 0, 1] and weights.tolist() == [1, 1, 1]


def test_a_class_of_the_same_name_in_another_set_counts_too() -> None:
    found = objective(True)
    rows, columns, _ = found._as_classes(pairs([2, 0, 1]))
    named = sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    assert named == [(0, 0), (0, 2), (1, 0), (1, 2), (2, 1)]
    assert np.array_equal(found.sets.numpy(), [0, 0, 1, 1])


def test_a_mixed_picture_has_both_classes_by_their_shares() -> None:
    mixed = Blend(torch.tensor([True, False]), torch.tensor([1, 3]), torch.tensor([0.75, 1.0]))
    rows, columns, weights = objective(False)._as_classes(pairs([0, 3], mixed))
    found = sorted(zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True))
    assert found == [(0, 0, 0.75), (0, 1, 0.25), (1, 3, 1.0)]
