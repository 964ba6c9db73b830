"""The network that outlines known classes pixel by pixel on the frozen encoder's maps, and its loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsrag.models.groundviews import CELL
from rsrag.train.projecting import CHANNELS, Projected, Projection

STEP = 2
"""Side in pixels of what the network scores; a score between is interpolated."""


class Memory(nn.Module):  # type: ignore[misc]
    """Class-wise memory: each class keeps some vectors, a cell reads its mixture of them, and what it reads scores it.

    After the class-wise learnable memory of GeoPix (Ou et al. 2025, arXiv 2501.06828), without its spatial extent:
    ``r_c = sum_k softmax_k(q . m_ck / sqrt(d)) m_ck``, score ``q . r_c / sqrt(d)``. Input [N, D, H, W], output
    [N, classes, H, W].
    """

    def __init__(self, classes: int, width: int, slots: int = 8, dim: int = 32) -> None:
        super().__init__()
        self.ask = nn.Conv2d(width, dim, 1)
        self.slots = nn.Parameter(torch.randn(classes, slots, dim) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        classes, slots, dim = self.slots.shape
        kernel = self.slots.reshape(classes * slots, dim, 1, 1) / math.sqrt(dim)
        near = functional.conv2d(self.ask(x), kernel)  # cosine-like likeness to every slot
        near = near.reshape(-1, classes, slots, x.shape[2], x.shape[3])
        return (torch.softmax(near, dim=2) * near).sum(dim=2)


class PixelHead(nn.Module):  # type: ignore[misc]
    """Logits of classes at every second pixel.

    Input: projected maps on the grid of cells, [N, CHANNELS, H, W], and the picture, RGB in 0..1,
    [N, 3, CELL * H, CELL * W]. Output [N, classes, CELL * H / 2, CELL * W / 2].

    Args:
        classes: how many.
        memory: whether classes have a memory.
        width: channels at the cells.
        fine: channels at every second pixel.
    """

    def __init__(self, classes: int, *, memory: bool = False, width: int = 96, fine: int = 32) -> None:
        super().__init__()
        self.classes = classes
        self.near = nn.Conv2d(CHANNELS, width, 1)
        self.around = nn.Conv2d(width, width, 3, padding=1)
        self.wide = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.memory = Memory(classes, width) if memory else None
        self.down = nn.Conv2d(width, fine, 1)
        self.edge = nn.Conv2d(3, 16, 3, stride=STEP, padding=1)
        self.edges = nn.Conv2d(16, 16, 3, padding=1)
        self.mix = nn.Conv2d(fine + 16 + (classes if memory else 0), fine, 3, padding=1)
        self.mixed = nn.Conv2d(fine, fine, 3, padding=2, dilation=2)
        self.out = nn.Conv2d(fine, classes, 1)
        self.coarse = nn.Conv2d(width, classes, 1)
        nn.init.constant_(self.coarse.bias, -2.0)

    def forward(self, grid: Tensor, picture: Tensor) -> Tensor:
        seen = functional.relu(self.near(grid))
        seen = seen + functional.relu(self.around(seen))
        seen = seen + functional.relu(self.wide(seen))
        parts = [self.down(seen), self.coarse(seen)]
        if self.memory is not None:
            parts.append(self.memory(seen))
        factor = float(CELL // STEP)
        large = functional.interpolate(torch.cat(parts, 1), scale_factor=factor, mode="bilinear", align_corners=False)
        fine = self.down.out_channels
        down, coarse, read = large[:, :fine], large[:, fine : fine + self.classes], large[:, fine + self.classes :]
        lines = functional.relu(self.edge((picture - 0.4) * 4))
        lines = functional.relu(self.edges(lines))
        mixed = functional.relu(self.mix(torch.cat([functional.relu(down), lines, read], 1)))
        mixed = mixed + functional.relu(self.mixed(mixed))
        out: Tensor = self.out(mixed) + coarse
        return out


class Whole(nn.Module):  # type: ignore[misc]
    """From the encoder's maps and the picture to scores 0 to 1 at every second pixel: what is exported."""

    def __init__(self, head: PixelHead, projection: Projection) -> None:
        super().__init__()
        self.head = head
        self.projected = Projected(projection)

    def forward(self, picture: Tensor, *maps: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.projected(*maps), picture))


def loss(out: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of known pixels, and Dice (Milletari et al. 2016) of every class that is known anywhere.

    Args:
        out: logits [N, classes, H, W].
        truth: 0 to 1, of the same shape: the share of what is scored that is of the class.
        known: 0 or 1, of the same shape: where the truth of a class is known.
    """
    sure = torch.sigmoid(out) * known
    truth = truth * known
    entropy = functional.binary_cross_entropy_with_logits(out, truth, reduction="none") * known
    shared, total = (sure * truth).sum((0, 2, 3)), (sure + truth).sum((0, 2, 3))
    seen = truth.sum((0, 2, 3)) > 0
    dice = 1 - (2 * shared + 1) / (total + 1)
    dice = dice[seen].mean() if bool(seen.any()) else out.sum() * 0
    return entropy.sum() / known.sum().clamp(min=1) + 0.5 * dice
