"""A batch worked through in parts, with the gradients of the whole (cached gradients, Gao et al. 2021).

Adding up the gradients of small batches is no large batch for a contrastive loss: every picture would only meet the
negatives of its own part. Here a first pass without gradients gives all vectors, the losses are taken on all of them
at once, and a second pass carries the gradients of the vectors into the network part by part. The memory is that of one
part, the price a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rsrag.train.towers.base import Features

Losses = dict[str, Tensor]
Objective = Callable[[Features], Losses]
Context = Callable[[], AbstractContextManager[object]]


def backward(
    network: nn.Module,
    pixels: Tensor,
    texts: Tensor,
    objective: Objective,
    *,
    parts: int,
    seed: int,
    autocast: Context = nullcontext,
    alone: Context = nullcontext,
) -> Losses:
    """Losses of a batch, and their gradient added to ``.grad`` of the weights.

    The result does not depend on ``parts`` (up to rounding), except that batch norms use the statistics of a part.

    Args:
        network: a tower, perhaps wrapped for several devices.
        pixels: of the pictures, first dimension N.
        texts: prepared texts, first dimension M.
        objective: from all features to losses; ``"loss"`` is the one that counts.
        parts: in how many the batch is worked through.
        seed: of what is dropped at random; equal in both passes.
        autocast: makes the context of a forward pass.
        alone: makes the context in which several devices do not exchange gradients.

    Returns:
        The losses, detached.
    """
    parts = min(parts, len(pixels))  # a small set is less than a batch
    if parts == 1:
        torch.manual_seed(seed)
        with autocast():
            features = network(pixels, texts)
        losses = objective(features)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        return {name: loss.detach() for name, loss in losses.items()}
    pieces = list(zip(pixels.tensor_split(parts), texts.tensor_split(parts), strict=True))
    with torch.no_grad(), _still_statistics(network), autocast():
        found = []
        for number, piece in enumerate(pieces):
            torch.manual_seed(seed + number)
            found.append(network(*piece))
    cached = _join(found)
    losses = objective(cached)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    # The first part is the largest: it goes last, when devices exchange gradients, so that all weights take part.
    for number in reversed(range(parts)):
        with alone() if number else nullcontext():
            torch.manual_seed(seed + number)
            with autocast():
                features = network(*pieces[number])
            _carry(features, cached, found, number)
    return {name: loss.detach() for name, loss in losses.items()}


def _join(found: Sequence[Features]) -> Features:
    """The features of all parts as leaves that collect gradients."""

    def leaf(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts)).detach().requires_grad_()

    first = found[0]
    instance = None if first.instance is None else leaf([f.instance for f in found if f.instance is not None])
    scale = first.scale.detach().clone().requires_grad_()
    bias = None if first.bias is None else first.bias.detach().clone().requires_grad_()
    return Features(leaf([f.semantic for f in found]), instance, leaf([f.words for f in found]), scale, bias)


def _carry(features: Features, cached: Features, found: Sequence[Features], number: int) -> None:
    """Push the gradients of one part's features into the network; scale and bias count once, with part 0."""
    tensors: list[Tensor] = []
    gradients: list[Tensor] = []
    for name in Features._fields:
        tensor, leaf = getattr(features, name), getattr(cached, name)
        if tensor is None or leaf.grad is None or not tensor.requires_grad:
            continue
        if name in ("scale", "bias"):
            if number:
                continue
            gradient = leaf.grad
        else:
            start = sum(len(getattr(f, name)) for f in found[:number])
            gradient = leaf.grad[start : start + len(tensor)]
        tensors.append(tensor)
        gradients.append(gradient)
    if tensors:
        torch.autograd.backward(tensors, gradients)


@contextmanager
def _still_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms do not count the first pass in their running statistics."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
