"""The networks that can be trained, behind one interface."""

from __future__ import annotations

from rsrag.train.config import TrainConfig
from rsrag.train.towers.base import Features, Tower

__all__ = ["Features", "Tower", "build_tower"]


def build_tower(config: TrainConfig) -> Tower:
    """The dual encoder that a configuration names, at its start: pretrained weights, or random ones from the seed.

    Raises:
        MissingExtra: open_clip or timm is not installed.
        ModelError: no such architecture or weights.
    """
    import torch

    torch.manual_seed(config.seed)
    with_bias = config.optim.loss == "siglip"
    if config.model.kind == "open_clip":
        from rsrag.train.towers.openclip import OpenClipTower

        return OpenClipTower(config.model, with_bias=with_bias, with_instance=config.optim.instance_weight > 0)
    from rsrag.train.towers.mini import MiniTower

    return MiniTower(config.model, with_bias=with_bias)
