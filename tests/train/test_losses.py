"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from rsrag.train.losses import multi_positive_nce, nt_xent  # noqa: E402


def log_softmax(row: list[float], index: int) -> float:
    return row[index] - math.log(sum(math.exp(value) for value in row))


def test_equal_texts_share_their_positives() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    scale = 2.0
    logits = (scale * images @ texts.T).tolist()
    # pictures 0 and 1 have the same text: each row has two positives of weight one half
    rows = [
        (log_softmax(logits[0], 0) + log_softmax(logits[0], 1)) / 2,
        (log_softmax(logits[1], 0) + log_softmax(logits[1], 1)) / 2,
        log_softmax(logits[2], 2),
    ]
    turned = [list(column) for column in zip(*logits, strict=True)]
    columns = [
        (log_softmax(turned[0], 0) + log_softmax(turned[0], 1)) / 2,
        (log_softmax(turned[1], 0) + log_softmax(turned[1], 1)) / 2,
        log_softmax(turned[2], 2),
    ]
    expected = -(sum(rows) / 3 + sum(columns) / 3) / 2
    found = multi_positive_nce(images, texts, torch.tensor([7, 7, 9]), scale)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_without_equal_texts_it_is_the_clip_loss() -> None:
    torch.manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(5, 8), dim=1) for _ in range(2))
    logits = 10 * images @ texts.T
    target = torch.arange(5)
    clip = (torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)) / 2
    assert torch.allclose(multi_positive_nce(images, texts, torch.arange(5), 10.0), clip, atol=1e-6)


def test_instance_loss_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # every view: its twin at cosine 1, two others at 0
    expected = -math.log(math.exp(2.0) / (math.exp(2.0) + 2.0))
    assert float(nt_xent(first, second, 0.5)) == pytest.approx(expected, abs=1e-6)
