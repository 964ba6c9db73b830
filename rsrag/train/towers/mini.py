"""The small dual encoder of the default profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from rsrag.errors import ConfigError
from rsrag.train import thaw
from rsrag.train.config import ModelConfig
from rsrag.train.textmodel import load_text
from rsrag.train.tower import ImageTower, TextHead
from rsrag.train.towers.base import Tower

SIGLIP_BIAS = -10.0
"""Where the bias of the SigLIP loss begins (Zhai et al. 2023)."""
START_LOG_SCALE = math.log(1 / 0.07)
"""Where the logarithm of the inverse temperature begins (Radford et al. 2021)."""


class MiniTower(Tower):
    """A timm network with a semantic and an instance head; frozen static text vectors with a residual head.

    Attributes:
        unsettled: the weights come from an export; its batch norms wait for statistics (:mod:`rsrag.train.thaw`).
    """

    unsettled = False

    def __init__(self, config: ModelConfig, *, with_bias: bool = False) -> None:
        super().__init__()
        self.image = ImageTower(config)
        self.text = TextHead(config.semantic_dim, config.text_hidden)
        self.log_scale = nn.Parameter(torch.tensor(START_LOG_SCALE))
        if with_bias:
            self.logit_bias = nn.Parameter(torch.tensor(SIGLIP_BIAS))
        self._frozen = load_text(config.text_model)
        if config.pretrained:
            self._start_from(Path(config.pretrained))
        self.to(memory_format=torch.channels_last)

    def _start_from(self, run_dir: Path) -> None:
        """Take the averaged weights of another run of the same architecture, or those of an exported tower."""
        if thaw.is_export(run_dir):
            thaw.thaw(self, run_dir)
            return
        from rsrag.train.restore import load_tower

        _, other = load_tower(run_dir)
        found = {k: v for k, v in other.state_dict().items() if k != "logit_bias"}
        try:
            left = self.load_state_dict(found, strict=False)
        except RuntimeError as error:
            raise ConfigError(f"the weights of {run_dir} do not fit model.architecture: {error}") from error
        missing = [key for key in left.missing_keys if key != "logit_bias"]
        if missing or left.unexpected_keys:
            wrong = ", ".join([*missing, *left.unexpected_keys][:5])
            raise ConfigError(f"the weights of {run_dir} do not fit model.architecture: {wrong}")

    def prepare_texts(self, texts: Sequence[str]) -> Tensor:
        """Static vectors, float32 [N, D]."""
        return torch.from_numpy(self._frozen(list(texts)))

    def image_vectors(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        semantic, instance = self.image(pixels)
        return semantic, instance

    def text_vectors(self, rows: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            vectors: Tensor = self.text(rows)
        return vectors

    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=100.0)

    def side_of(self, name: str) -> str:
        first = name.split(".", 1)[0]
        return first if first in ("image", "text") else "loss"

    def projections(self) -> tuple[str, ...]:
        return ("image.semantic.*", "image.instance.*", "text.second.*")

    def set_checkpointing(self, on: bool) -> None:
        if not on:
            return
        try:
            self.image.trunk.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise ConfigError("optim.checkpointing: this timm network cannot recompute its activations") from error
