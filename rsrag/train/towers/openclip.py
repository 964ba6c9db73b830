"""Dual encoders of open_clip."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsrag.config import resolve
from rsrag.errors import BadModelFile, ConfigError
from rsrag.models import architectures, weights
from rsrag.models.base import ModelRow
from rsrag.models.registry import MODELS
from rsrag.models.resize import resized
from rsrag.train.config import ModelConfig
from rsrag.train.towers.base import Tower

SIGLIP_SCALE, SIGLIP_BIAS = 10.0, -10.0
"""Where temperature and bias of the SigLIP loss begin (Zhai et al. 2023)."""
RESIZE = "crop"
"""How the finished encoder brings pictures to its size."""
_TEXT = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "text")


class OpenClipTower(Tower):
    """Any architecture that :mod:`rsrag.models.architectures` can build.

    Args:
        config: architecture and start.
        with_bias: add the bias of the SigLIP loss if the network has none.
        with_instance: add a head on the image vector that tells places apart; it is not exported.

    Attributes:
        architecture: the configuration of open_clip, as exported beside the weights.
        label: the name of the architecture.
        start: digest of the weights file that training starts from, or "random".

    Raises:
        ModelError: no such architecture or weights.
    """

    def __init__(self, config: ModelConfig, *, with_bias: bool = False, with_instance: bool = False) -> None:
        super().__init__()
        self.architecture = architectures.read_config(config.architecture)
        self.label = architectures.label(config.architecture, self.architecture)
        if config.image_size:
            self.architecture["vision_cfg"]["image_size"] = config.image_size
        patch = self.architecture["vision_cfg"].get("patch_size") or 1
        if 0 < config.image_size < patch:
            raise ConfigError(f"model.image_size {config.image_size} is less than a patch of {self.label}: {patch} px")
        self.network = architectures.build(self.architecture)
        self.start = "random"
        if config.pretrained:
            self.start = self._load(config.pretrained)
        size = self.architecture["vision_cfg"].get("image_size", 224)
        self.input_size = int(size if isinstance(size, int) else size[0])
        self._tokenize = architectures.tokenizer(self.architecture)
        self.network.logit_scale.requires_grad_(True)
        self._prepare_loss(with_bias, random_start=not config.pretrained)
        self.instance: nn.Module | None = None
        if with_instance:
            dim = int(self.architecture["embed_dim"])
            hidden = nn.Linear(dim, config.instance_hidden)
            self.instance = nn.Sequential(hidden, nn.ReLU(), nn.Linear(config.instance_hidden, config.instance_dim))
        self._pictures = architectures.pictures(self.architecture, self.label)
        self.register_buffer("mean", torch.tensor(self._pictures.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self._pictures.std).view(1, 3, 1, 1), persistent=False)

    def _prepare_loss(self, with_bias: bool, *, random_start: bool) -> None:
        own = self.network.logit_bias
        self.network.logit_bias = None
        if with_bias:
            self.logit_bias = nn.Parameter(torch.tensor(SIGLIP_BIAS) if own is None else own.detach().reshape(()))
            if random_start:
                nn.init.constant_(self.network.logit_scale, math.log(SIGLIP_SCALE))

    def _load(self, pretrained: str) -> str:
        """Read weights; returns their digest."""
        from open_clip.model import resize_pos_embed
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        row = next((r for r in MODELS if r.name == pretrained and r.backend == "open_clip"), None)
        row = row or ModelRow("model.pretrained", "image", "open_clip", pretrained)
        if Path(pretrained).suffix and not Path(pretrained).exists() and row.name == "model.pretrained":
            raise ConfigError(f"model.pretrained: there is no file {pretrained}")
        if (
            row.name == "model.pretrained"
            and not Path(pretrained).expanduser().exists()
            and weights.hub_id(row) is None
        ):
            hint = "a .safetensors file or its folder, a model of rsrag models list, or owner/name@commit"
            raise ConfigError(f"model.pretrained: no weights in {pretrained}", hint=hint)
        file = weights.one_weights_file(weights.locate(row, resolve().settings), row.options.get("file"))
        self._check_activation(weights.read_side_car(file), row, file)
        try:
            tensors = load_file(file)
        except (SafetensorError, OSError) as error:
            raise BadModelFile(f"cannot read {file}: {error}") from error
        resize_pos_embed(tensors, self.network)
        wanted = {key: tuple(tensor.shape) for key, tensor in self.network.state_dict().items()}
        report = weights.compare({key: tuple(tensor.shape) for key, tensor in tensors.items()}, wanted)
        if not report.fits:
            raise BadModelFile(f"{file} does not fit {self.label}: {report}")
        kept = {key: tensor.float() for key, tensor in tensors.items() if key not in report.ignored}
        if "logit_scale" in tensors:
            kept["logit_scale"] = tensors["logit_scale"].float().reshape(self.network.logit_scale.shape)
        self.network.load_state_dict(kept, strict=False)
        return weights.file_digest(file)

    def _check_activation(self, note: Mapping[str, Any] | None, row: ModelRow, file: Path) -> None:
        """Refuse weights that were made with another activation: their keys would fit, and nothing would be said.

        Raises:
            ConfigError: the architecture has QuickGELU and the weights the exact GELU, or the other way round.
        """
        stated = row.options.get("architecture")
        if note is None and stated is None:
            return
        theirs: Mapping[str, Any] = note["config"] if note is not None else architectures.read_config(str(stated))
        if bool(theirs.get("quick_gelu")) != bool(self.architecture.get("quick_gelu")):
            made_for = note["architecture"] if note is not None else stated
            raise ConfigError(f"{file} was made for {made_for}, whose activation is not that of {self.label}")

    def prepare_texts(self, texts: Sequence[str]) -> Tensor:
        """Token numbers, int64 [N, context]."""
        tokens: Tensor = self._tokenize(list(texts))
        return tokens

    def image_vectors(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        vectors = self.network.encode_image((pixels - self.mean) / self.std)
        instance = None if self.instance is None else _unit(self.instance(vectors))
        return _unit(vectors), instance

    def text_vectors(self, rows: Tensor) -> Tensor:
        if not len(rows):
            return rows.new_zeros((0, int(self.architecture["embed_dim"])), dtype=torch.float32)
        if self._causal():
            return _unit(self._encode_short(rows))
        return _unit(self.network.encode_text(rows))

    def _causal(self) -> bool:
        """Whether a text's vector is read at its end token and no token sees later ones: padding changes nothing."""
        mask = getattr(self.network, "attn_mask", None)
        return mask is not None and getattr(self.network, "text_pool_type", "") == "argmax"

    def _encode_short(self, rows: Tensor) -> Tensor:
        """``encode_text`` of open_clip's CLIP without the padding that all rows share."""
        network: Any = self.network
        length = int(rows.argmax(dim=1).max()) + 1
        rows = rows[:, :length]
        vectors = network.token_embedding(rows) + network.positional_embedding[:length]
        vectors = network.transformer(vectors, attn_mask=network.attn_mask[:length, :length])
        ends = network.ln_final(vectors)[torch.arange(len(rows), device=rows.device), rows.argmax(dim=1)]
        projection = network.text_projection
        if projection is None:
            return ends
        projected: Tensor = projection(ends) if isinstance(projection, nn.Linear) else ends @ projection
        return projected

    def resized(self, picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
        return resized(picture, size, RESIZE, bilinear=self._pictures.bilinear)

    def scale(self) -> Tensor:
        scale: Tensor = self.network.logit_scale.exp().clamp(max=100.0).reshape(())
        return scale

    def side_of(self, name: str) -> str:
        parts = name.split(".")
        if parts[0] == "instance" or parts[:2] == ["network", "visual"]:
            return "image"
        return "text" if parts[0] == "network" and len(parts) > 1 and parts[1] in _TEXT else "loss"

    def projections(self) -> tuple[str, ...]:
        images = ("visual.proj", "visual.head.*", "visual.attnpool.c_proj.*")
        texts = ("text_projection", "text_projection.*", "text.text_projection*")
        return (*(f"network.{end}" for end in (*images, *texts)), "instance.*")

    def set_checkpointing(self, on: bool) -> None:
        self.network.set_grad_checkpointing(on)


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors.float(), dim=1)
