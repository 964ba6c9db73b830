"""The networks of the mini dual encoder: an image tower with two heads, a residual head over frozen text vectors."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsrag.train.config import ModelConfig

MEAN = (0.40, 0.41, 0.37)
STD = (0.20, 0.18, 0.18)


class ImageTower(nn.Module):  # type: ignore[misc]
    """Picture to two unit vectors.

    Input is float32 [N, 3, S, S], RGB in 0..1; normalisation happens inside. Output is ``semantic`` float32
    [N, semantic_dim] and ``instance`` float32 [N, instance_dim], both of unit length.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = timm.create_model(
            config.architecture, pretrained=False, num_classes=0, drop_path_rate=config.drop_path
        )
        width = int(self.trunk.num_features)
        self.semantic = nn.Linear(width, config.semantic_dim)
        self.instance = nn.Sequential(
            nn.Linear(width, config.instance_hidden),
            nn.ReLU(),
            nn.Linear(config.instance_hidden, config.instance_dim),
        )
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk((pixels - self.mean) / self.std)
        semantic = functional.normalize(self.semantic(features).float(), dim=1)
        instance = functional.normalize(self.instance(features).float(), dim=1)
        return semantic, instance


class TextHead(nn.Module):  # type: ignore[misc]
    """Residual two-layer perceptron: ``normalise(x + W2 relu(W1 x + b1) + b2)``, begins as the identity.

    Input and output are float32 [N, D]; the output has unit length.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, hidden)
        self.second = nn.Linear(hidden, dim)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        moved = vectors + self.second(functional.relu(self.first(vectors)))
        return functional.normalize(moved.float(), dim=1)
