"""Run by two processes at once: losses and gradients on shares of a batch, compared with those of the whole."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from rsrag.train import losses

torch.set_num_threads(1)


def data() -> tuple[Tensor, ...]:
    """Pictures, texts, groups and labels of 6 pairs, second views, and what makes vectors of them."""
    made = torch.Generator().manual_seed(0)
    images, second, texts = (torch.randn(6, 5, generator=made) for _ in range(3))
    return images, second, texts, torch.tensor([0, 1, 2, 1, 0, 5]), torch.tensor([0, 1, 1, 2, 3, 0])


def total(network: nn.Module, rows: Tensor) -> Tensor:
    """All four losses on some rows."""
    images, second, texts, groups, labels = (part[rows] for part in data())
    vectors = [nn.functional.normalize(network.map(part), dim=1) for part in (images, second, texts)]
    scale, bias = network.scale, network.bias
    prompts = nn.functional.normalize(network.map(torch.arange(40.0).view(4, 2, 5).sin()), dim=2)
    sets = torch.tensor([0, 0, 1, 1])
    found: Tensor = (
        losses.multi_positive_nce(vectors[0], vectors[2], groups, scale)
        + losses.sigmoid_pairs(vectors[0], vectors[2], groups, scale, bias)
        + losses.nt_xent(vectors[0], vectors[1], 0.3)
        + losses.prompt_classes(vectors[0], prompts, labels, sets, scale, 0.1)
    )
    return found


def network() -> nn.Module:
    """A linear map, a temperature and a bias."""
    torch.manual_seed(1)
    made = nn.Module()
    made.map = nn.Linear(5, 4)
    made.scale, made.bias = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(-1.0))
    return made


def main(rank: int, meeting: str) -> None:
    """Compare; leaves with an assertion where something differs."""
    whole, own = network(), network()
    expected = total(whole, torch.arange(6))
    expected.backward()
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    # Shares of different size: 4 and 2 pairs, then all and none.
    for shares in (([0, 2, 4, 5], [1, 3]), ([0, 1, 2, 3, 4, 5], [])):
        own.zero_grad()
        # the order of the rows among all devices is another one, which no loss depends on
        loss = total(own, torch.tensor(shares[rank], dtype=torch.int64))
        loss.backward()
        parts = [loss.detach(), *(p.grad if p.grad is not None else torch.zeros_like(p) for p in own.parameters())]
        for part in parts:
            distributed.all_reduce(part)
        wanted = [expected.detach(), *(p.grad for p in whole.parameters())]
        for part, want in zip(parts, wanted, strict=True):
            assert torch.allclose(part / 2, want, atol=1e-5), (shares, part / 2, want)
    distributed.destroy_process_group()
    print("equal")


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main(int(sys.argv[1]), sys.argv[2])
