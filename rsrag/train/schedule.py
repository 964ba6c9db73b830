"""Optimiser and learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from rsrag.train.config import OptimConfig


def optimiser(network: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW on what is trained, without weight decay on norms, biases and single numbers."""
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=(0.9, 0.98), eps=1e-6)


def learning_rate(config: OptimConfig, step: int, total: int) -> float:
    """Linear warm-up, then a cosine to a thousandth of the peak."""
    warm = max(1, round(config.warmup * total))
    if step < warm:
        return config.lr * (step + 1) / warm
    share = (step - warm) / max(1, total - warm)
    return config.lr * (0.001 + 0.999 * (1 + math.cos(math.pi * share)) / 2)
