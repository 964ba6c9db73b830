"""What the trainer needs of a dual encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rsrag.train.augment import plain

Vectors = npt.NDArray[np.float32]
SIDES = ("image", "text")
_TEXTS = 256


class Features(NamedTuple):
    """What a pass over pictures and texts gives.

    Attributes:
        semantic: float32 [N, D], unit length, in the space of the texts.
        instance: float32 [N, I], unit length, tells places apart; None without such a head.
        words: float32 [M, D], unit length.
        scale: inverse temperature, float32 scalar.
        bias: of the SigLIP loss, float32 scalar, or None.
    """

    semantic: Tensor
    instance: Tensor | None
    words: Tensor
    scale: Tensor
    bias: Tensor | None


class Tower(nn.Module):  # type: ignore[misc]
    """A dual encoder: two sides, a temperature, perhaps a bias.

    Subclasses define :meth:`prepare_texts`, :meth:`image_vectors`, :meth:`text_vectors`, :meth:`scale`,
    :meth:`side_of`, :meth:`projections` and :meth:`set_checkpointing`.

    Attributes:
        input_size: side of the pictures in px when it is fixed; 0 when any will do.
        given_vectors: texts come to :meth:`forward` as finished vectors, because their side does not change.
    """

    input_size: int = 0
    given_vectors: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.locked: set[str] = set()
        self.logit_bias: nn.Parameter | None = None

    def prepare_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts as rows for :meth:`text_vectors`, on the CPU; computed once and kept."""
        raise NotImplementedError

    def image_vectors(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Semantic and instance vectors of float32 [N, 3, S, S] in 0..1."""
        raise NotImplementedError

    def text_vectors(self, rows: Tensor) -> Tensor:
        """Unit vectors float32 [M, D] of prepared texts."""
        raise NotImplementedError

    def scale(self) -> Tensor:
        """Inverse temperature, at most 100."""
        raise NotImplementedError

    def side_of(self, name: str) -> str:
        """Whether a parameter or module belongs to "image", "text", or to the "loss"."""
        raise NotImplementedError

    def projections(self) -> tuple[str, ...]:
        """Names of the last linear maps of both sides: what a linear probe trains."""
        raise NotImplementedError

    def set_checkpointing(self, on: bool) -> None:
        """Recompute activations in the backward pass, where the network can."""
        raise NotImplementedError

    def forward(self, pixels: Tensor, texts: Tensor) -> Features:
        """Encode a batch.

        Args:
            pixels: uint8 [N, 3, S, S], or float32 in 0..1.
            texts: rows of :meth:`prepare_texts`, or finished vectors when :attr:`given_vectors` says so.
        """
        if pixels.dtype == torch.uint8:
            pixels = pixels.float().div_(255)
        semantic, instance = self.image_vectors(pixels)
        words = texts if self.given_vectors else self.text_vectors(texts)
        bias = None if self.logit_bias is None else self.logit_bias.clone()  # what leaves is computed, never a weight
        return Features(semantic, instance, words, self.scale(), bias)

    def lock(self, side: str) -> None:
        """Freeze a side: its weights get no gradient, its statistics do not move, nothing in it is dropped."""
        for name, parameter in self.named_parameters():
            if self.side_of(name) == side:
                parameter.requires_grad_(False)
        self.locked.add(side)
        self.train(self.training)

    def trains(self, side: str) -> bool:
        """Whether any weight of a side is trained."""
        return any(p.requires_grad and self.side_of(name) == side for name, p in self.named_parameters())

    def train(self, mode: bool = True) -> Tower:
        """Training mode, except for locked sides and for batch norms whose weights are frozen."""
        super().train(mode)
        for name, module in self.named_modules():
            still = isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters())
            if still or (name and self.side_of(name) in self.locked):
                module.eval()
        return self

    def counts(self) -> dict[str, int]:
        """How many numbers are in the network and how many of them are trained, in all and by side."""
        found = {"parameters": 0, "trainable": 0, "trainable_image": 0, "trainable_text": 0, "trainable_loss": 0}
        for name, parameter in self.named_parameters():
            found["parameters"] += parameter.numel()
            if parameter.requires_grad:
                found["trainable"] += parameter.numel()
                found[f"trainable_{self.side_of(name)}"] += parameter.numel()
        return found

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of sentences, float32 [N, D]."""
        parts = [
            self.text_vectors(self.prepare_texts(texts[start : start + _TEXTS]).to(self.device)).float().cpu().numpy()
            for start in range(0, len(texts), _TEXTS)
        ]
        return np.concatenate(parts)

    def resized(self, picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
        """A picture as the finished encoder sees it: uint8 [H, W, 3] to [size, size, 3]."""
        return plain(picture, size)

    def embed_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Semantic and instance vectors as measures want them: without an instance head the semantic ones twice."""
        semantic, instance = self.image_vectors(pixels)
        return semantic, semantic if instance is None else instance
