"""What a batch is, once it is on the device, and the losses on its features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rsrag.train.batches import Batch
from rsrag.train.blend import Blend, blend
from rsrag.train.config import OptimConfig
from rsrag.train.data import Texts
from rsrag.train.losses import multi_positive_nce, nt_xent, prompt_classes, sigmoid_pairs
from rsrag.train.towers import Features

PROMPTS = 3
"""Prompts drawn for every class and step."""


@dataclass
class Pairs:
    """Pictures of one view and their texts.

    Attributes:
        rows: int64 [M], positions among the pictures of all views.
        texts: where their texts are among all of the batch.
        groups: int64 [M], equal for equal texts.
        labels: int64 [M], class number, -1 for none.
        mixed: which of them show two pictures, of what classes and shares; None when none may.
    """

    rows: Tensor
    texts: slice
    groups: Tensor
    labels: Tensor
    mixed: Blend | None = None


@dataclass
class Inputs:
    """A batch on the device.

    Attributes:
        pixels: uint8 [V * B, 3, S, S], view after view.
        texts: prepared texts of all views, then the prompts of all classes.
        pairs: for every view.
        prompts: where the prompts are; None without a class loss.
    """

    pixels: Tensor
    texts: Tensor
    pairs: list[Pairs]
    prompts: slice | None


class Objective:
    """The losses of a configuration.

    Args:
        config: weights and kinds.
        texts: all texts of the training data.
        rows: prepared form of their sentences, first dimension T, on the CPU.
        device: torch device.
    """

    def __init__(self, config: OptimConfig, texts: Texts, rows: Tensor, device: torch.device) -> None:
        self.config, self.texts, self.rows, self.device = config, texts, rows, device
        self.groups = torch.from_numpy(texts.groups).to(device)
        self.sets = set_numbers(texts).to(device)
        self.alike = _alike(texts, self.sets, device, shared=config.shared_classes)

    def inputs(self, batch: Batch, rng: np.random.Generator) -> Inputs:
        """Move a batch to the device; ``rng`` draws the prompts of the classes."""
        views, count = self.config.views, batch.views.shape[1]
        pixels = torch.from_numpy(np.concatenate(batch.views[:views])).to(self.device).permute(0, 3, 1, 2)
        pairs, chosen, start = [], [], 0
        for view in range(views):
            rows, texts, labels = (torch.from_numpy(part[view]) for part in (batch.rows, batch.texts, batch.labels))
            groups = self.groups[texts.to(self.device)]
            where = slice(start, start + len(texts))
            mixed = None
            if self.config.mix:
                sets = torch.where(labels < 0, -1, self.sets.cpu()[labels])
                mixed = blend(pixels, rows + view * count, labels, sets, self.config.mix, rng)
            pairs.append(Pairs((rows + view * count).to(self.device), where, groups, labels.to(self.device), mixed))
            chosen.append(texts)
            start = where.stop
        prompts = None
        if self.config.class_weight and self.texts.of_class:
            drawn = [rng.choice(own, PROMPTS) for own in self.texts.of_class]
            chosen.append(torch.from_numpy(np.concatenate(drawn).astype(np.int64)))
            prompts = slice(start, start + len(chosen[-1]))
        return Inputs(pixels, self.rows[torch.cat(chosen)].to(self.device), pairs, prompts)

    def losses(self, inputs: Inputs, features: Features) -> dict[str, Tensor]:
        """Text, class and instance loss, and ``loss``, the one that counts. Float32, nats."""
        config = self.config
        text, classes = features.semantic.new_zeros(()), features.semantic.new_zeros(())
        for pairs in inputs.pairs:
            vectors, words = features.semantic[pairs.rows], features.words[pairs.texts]
            pure = slice(None) if pairs.mixed is None else ~pairs.mixed.chosen.to(self.device)
            text = text + self._text_loss(vectors[pure], words[pure], pairs.groups[pure], features) / len(inputs.pairs)
            if inputs.prompts is not None:
                prompts = features.words[inputs.prompts].view(len(self.sets), PROMPTS, -1)
                rows, numbers, weights = self._as_classes(pairs)
                own = vectors[rows]
                loss = prompt_classes(own, prompts, numbers, self.sets, features.scale, config.smoothing, weights)
                classes = classes + loss / len(inputs.pairs)
        result, total = {"text": text}, text
        if inputs.prompts is not None:
            result["class"] = classes
            total = total + config.class_weight * classes
        if config.instance_weight:
            assert features.instance is not None
            first, second = features.instance.chunk(2)
            result["instance"] = nt_xent(first, second, config.instance_temperature)
            total = total + config.instance_weight * result["instance"]
        return {**result, "loss": total}

    def _as_classes(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and classes int64 [K], weights float32 [K]: every picture with its class and those of that name in other
        sets, a mixed one by its shares."""
        known = torch.nonzero(pairs.labels >= 0)[:, 0]
        rows, classes = torch.nonzero(self.alike[pairs.labels[known]], as_tuple=True)
        rows = known[rows]
        if pairs.mixed is None:
            return rows, classes, torch.ones_like(rows, dtype=torch.float32)
        own, other = pairs.mixed.share.to(self.device), pairs.mixed.others.to(self.device)
        also, second = torch.nonzero(self.alike[other[known]], as_tuple=True)
        also = known[also]
        weights = torch.cat([own[rows], 1 - own[also]])
        counted = weights > 0
        return torch.cat([rows, also])[counted], torch.cat([classes, second])[counted], weights[counted]

    def _text_loss(self, images: Tensor, words: Tensor, groups: Tensor, features: Features) -> Tensor:
        if self.config.loss == "siglip":
            assert features.bias is not None
            return sigmoid_pairs(images, words, groups, features.scale, features.bias)
        return multi_positive_nce(images, words, groups, features.scale)


def set_numbers(texts: Texts) -> Tensor:
    """int64 [C], number of the set that a class belongs to."""
    names = [key.split("/", 1)[0] for key in texts.classes]
    return torch.tensor([sorted(set(names)).index(name) for name in names], dtype=torch.int64)


def _alike(texts: Texts, sets: Tensor, device: torch.device, *, shared: bool) -> Tensor:
    """bool [C, C]: a class itself, and with ``shared`` the classes of other sets that have a name in common with it."""
    own = torch.eye(len(sets), dtype=torch.bool, device=device)
    if not shared or not texts.of_class:
        return own
    groups = torch.from_numpy(texts.groups[[indices[0] for indices in texts.of_class]]).to(device)
    return own | ((groups[:, None] == groups[None, :]) & (sets[:, None] != sets[None, :]))
