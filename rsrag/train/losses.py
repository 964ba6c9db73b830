"""The two contrastive losses."""

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
