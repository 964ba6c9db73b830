"""The losses. Each sees the rows of all devices (:mod:`rsrag.train.gather`); on one device they are the plain ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rsrag.train.gather import devices, everyone, offset


def multi_positive_nce(images: Tensor, texts: Tensor, groups: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE in which pairs of one group are positives of each other, never negatives.

    The target of a row is uniform over the columns of its group, so for groups of one this is the CLIP loss
    (Radford et al. 2021). Every device takes its own rows against the columns of all.

    Args:
        images: float32 [N, D], unit length.
        texts: float32 [N, D], unit length; row i describes image i.
        groups: int64 [N]; equal numbers mean equal texts.
        scale: inverse temperature.

    Returns:
        float32 scalar, nats; times the number of devices it is this device's part.
    """
    all_images, all_texts, all_groups = everyone(images.float()), everyone(texts.float()), everyone(groups)
    same = (groups[:, None] == all_groups[None, :]).to(all_images.dtype)
    target = same / same.sum(dim=1, keepdim=True)
    rows = -(target * functional.log_softmax(scale * images.float() @ all_texts.T, dim=1)).sum(dim=1)
    columns = -(target * functional.log_softmax(scale * texts.float() @ all_images.T, dim=1)).sum(dim=1)
    return _mean(rows + columns, len(all_groups)) / 2


def sigmoid_pairs(images: Tensor, texts: Tensor, groups: Tensor, scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """The SigLIP loss (Zhai et al. 2023): every pair of picture and text is one yes-or-no question.

    Pairs of one group are answered yes, all others no.

    Args:
        images: float32 [N, D], unit length.
        texts: float32 [N, D], unit length; row i describes image i.
        groups: int64 [N]; equal numbers mean equal texts.
        scale: inverse temperature.
        bias: added to every logit.

    Returns:
        float32 scalar, nats a picture; times the number of devices it is this device's part.
    """
    all_texts, all_groups = everyone(texts.float()), everyone(groups)
    logits = scale * images.float() @ all_texts.T + bias
    answers = torch.where(groups[:, None] == all_groups[None, :], 1.0, -1.0)
    return _mean(-functional.logsigmoid(answers * logits).sum(dim=1), len(all_groups))


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Instance discrimination: each view has one positive, the other view of its image; all other views are negatives.

    NT-Xent of Chen et al. 2020.

    Args:
        first: float32 [N, D], unit length.
        second: float32 [N, D], unit length; row i is another view of image i.
        temperature: divides the cosines.

    Returns:
        float32 scalar, nats; times the number of devices it is this device's part.
    """
    first, second = first.float(), second.float()
    all_first, all_second = everyone(first), everyone(second)
    count, total, start = len(first), len(all_first), offset(len(first), first.device)
    logits = torch.cat([first, second]) @ torch.cat([all_first, all_second]).T / temperature
    own = start + torch.arange(count, device=first.device)
    selves = torch.cat([own, own + total])
    logits = logits.scatter(1, selves[:, None], float("-inf"))
    target = torch.cat([own + total, own])
    return _mean(functional.cross_entropy(logits, target, reduction="none"), 2 * total)


def prompt_classes(
    images: Tensor,
    prompts: Tensor,
    labels: Tensor,
    sets: Tensor,
    scale: Tensor | float,
    smoothing: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over the classes of a picture's own set, each given by the mean vector of some of its prompts.

    Classes of other sets are no candidates: their pictures differ in resolution, which tells them apart too easily.

    Args:
        images: float32 [N, D], unit length.
        prompts: float32 [C, P, D], unit length, P prompts a class; the same on every device.
        labels: int64 [N], class of every image.
        sets: int64 [C], number of the set that a class belongs to.
        scale: inverse temperature.
        smoothing: share of the target spread over the classes of the set.
        weights: float32 [N], how much every row counts (the shares of a mixed picture); all alike when None.

    Returns:
        float32 scalar, nats; times the number of devices it is this device's part.
    """
    weights = torch.ones_like(labels, dtype=torch.float32) if weights is None else weights
    total = float(everyone(weights).sum())
    classes = functional.normalize(prompts.float().mean(dim=1), dim=1)
    others = sets[labels][:, None] != sets[None, :]
    logits = (scale * images.float() @ classes.T).masked_fill(others, float("-inf"))
    logs = functional.log_softmax(logits, dim=1)
    hit = -logs.gather(1, labels[:, None]).squeeze(1)
    spread = -logs.masked_fill(others, 0.0).sum(dim=1) / (~others).sum(dim=1)
    return _mean(weights * ((1 - smoothing) * hit + smoothing * spread), total)


def _mean(rows: Tensor, total: float) -> Tensor:
    """This device's part of a mean over ``total`` rows of all devices, times their number; 0 when there are none."""
    return rows.sum() * (devices() / total) if total else rows.sum()
