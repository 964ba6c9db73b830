"""The contrastive losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def multi_positive_nce(images: Tensor, texts: Tensor, groups: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE in which pairs of one group are positives of each other, never negatives.

    The target of a row is uniform over the columns of its group, so for groups of one this is the CLIP loss.

    Args:
        images: float32 [N, D], unit length.
        texts: float32 [N, D], unit length; row i describes image i.
        groups: int64 [N]; equal numbers mean equal texts.
        scale: inverse temperature.

    Returns:
        float32 scalar, nats.
    """
    logits = scale * images.float() @ texts.float().T
    same = (groups[:, None] == groups[None, :]).to(logits.dtype)
    target = same / same.sum(dim=1, keepdim=True)
    rows = -(target * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()
    columns = -(target * functional.log_softmax(logits.T, dim=1)).sum(dim=1).mean()
    return (rows + columns) / 2


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Instance discrimination: each view has one positive, the other view of its image; all other views are negatives.

    Args:
        first: float32 [N, D], unit length.
        second: float32 [N, D], unit length; row i is another view of image i.
        temperature: divides the cosines.

    Returns:
        float32 scalar, nats.
    """
    views = torch.cat([first, second]).float()
    count = first.shape[0]
    logits = views @ views.T / temperature
    logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=views.device), float("-inf"))
    target = torch.arange(2 * count, device=views.device).roll(count)
    return functional.cross_entropy(logits, target)


def prompt_classes(
    images: Tensor, prompts: Tensor, labels: Tensor, sets: Tensor, scale: Tensor | float, smoothing: float
) -> Tensor:
    """Cross-entropy over the classes of a picture's own set, each class given by the mean of some of its prompts.

    Classes of other sets are no candidates: their pictures differ in resolution, and that would be enough.

    Args:
        images: float32 [N, D], unit length.
        prompts: float32 [C, P, D], unit length, P prompts a class.
        labels: int64 [N], class of every image.
        sets: int64 [C], number of the set that a class belongs to.
        scale: inverse temperature.
        smoothing: share of the target spread over the classes of the set.

    Returns:
        float32 scalar, nats.
    """
    classes = functional.normalize(prompts.float().mean(dim=1), dim=1)
    others = sets[labels][:, None] != sets[None, :]
    logits = (scale * images.float() @ classes.T).masked_fill(others, float("-inf"))
    logs = functional.log_softmax(logits, dim=1)
    hit = -logs.gather(1, labels[:, None]).squeeze(1)
    spread = -logs.masked_fill(others, 0.0).sum(dim=1) / (~others).sum(dim=1)
    return ((1 - smoothing) * hit + smoothing * spread).mean()
