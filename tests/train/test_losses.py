"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from rsrag.train.losses import multi_positive_nce, nt_xent, prompt_classes, sigmoid_pairs  # noqa: E402


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


def test_pairs_answered_one_by_one() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    scale, bias, groups = 4.0, -1.5, [7, 7, 9]
    expected = 0.0
    for row in range(3):
        for column in range(3):
            logit = scale * float(images[row] @ texts[column]) + bias
            answer = 1 if groups[row] == groups[column] else -1
            expected += math.log(1 + math.exp(-answer * logit)) / 3
    found = sigmoid_pairs(images, texts, torch.tensor(groups), scale, bias)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_classes_of_other_sets_are_no_candidates() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    prompts = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]])
    sets = torch.tensor([0, 0, 1])
    # the first picture has the prompt of class 2 as near as its own, but that class is of another set
    expected = -(log_softmax([2.0, 0.0], 0) + log_softmax([0.0], 0)) / 2
    found = prompt_classes(images, prompts, torch.tensor([0, 2]), sets, 2.0, 0.0)
    assert float(found) == pytest.approx(expected, abs=1e-6)
    smoothed = prompt_classes(images[:1], prompts, torch.tensor([0]), sets, 2.0, 0.5)
    spread = -(log_softmax([2.0, 0.0], 0) + log_softmax([2.0, 0.0], 1)) / 2
    assert float(smoothed) == pytest.approx(-0.5 * log_softmax([2.0, 0.0], 0) + 0.5 * spread, abs=1e-6)


def test_a_batch_without_texts_has_no_text_loss() -> None:
    nothing = torch.zeros(0, 4, requires_grad=True)
    loss = multi_positive_nce(nothing, nothing, torch.zeros(0, dtype=torch.int64), 10.0)
    loss.backward()
    assert float(loss.detach()) == 0.0
