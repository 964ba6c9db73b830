"""The settings of a training run: frozen dataclasses read from TOML, unknown keys refused."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsrag.errors import ConfigError
from rsrag.train import tables
from rsrag.train.sources.config import DataConfig, LandscapeConfig, MosaicConfig, SourceConfig

__all__ = [
    "DataConfig",
    "LandscapeConfig",
    "ModelConfig",
    "MosaicConfig",
    "OptimConfig",
    "SourceConfig",
    "TrainConfig",
    "TrainResult",
    "TuningConfig",
    "load_config",
    "parse_config",
]

KINDS = ("mini", "open_clip")
LOSSES = ("infonce", "siglip")
METHODS = ("full", "lora", "adapter", "prompt", "bitfit", "probe")
SIDES = ("image", "text")
_MINI_ONLY = ("drop_path", "semantic_dim", "text_hidden", "text_model")
_OPEN_CLIP_ONLY = ("image_size",)


@dataclass(frozen=True)
class ModelConfig:
    """The two towers.

    Attributes:
        kind: ``"mini"``: a timm network and a residual head over frozen static text vectors; ``"open_clip"``: a dual
            encoder of open_clip with its own text tower.
        architecture: name of a timm network (mini), or an open_clip name or JSON file of an architecture (open_clip).
        pretrained: where the weights start. Empty: at random, from the seed. mini: the folder of another run.
            open_clip: a converted ``.safetensors`` file or its folder, a model of the registry (``rsrag models list``),
            or a hub id with its revision, ``owner/name@commit``.
        image_size: side of the input in px (open_clip); 0 leaves the architecture's. Position embeddings are resized.
        drop_path: share of residual branches left out at random in training (mini; stochastic depth).
        semantic_dim: size of the vector aligned with the text vectors (mini; their size).
        instance_dim: size of the vector that tells places apart.
        instance_hidden: hidden width of the instance head.
        text_hidden: hidden width of the residual text head (mini).
        text_model: directory of the static text model (mini); empty means the one that ships with the package.
    """

    kind: str = "mini"
    architecture: str = "cs3darknet_s"
    pretrained: str = ""
    image_size: int = 0
    drop_path: float = 0.0
    semantic_dim: int = 256
    instance_dim: int = 128
    instance_hidden: int = 512
    text_hidden: int = 512
    text_model: str = ""

    def __post_init__(self) -> None:
        tables.one_of(self.kind, KINDS, "model.kind")
        default = {item.name: item.default for item in dataclasses.fields(self)}
        foreign = _MINI_ONLY if self.kind == "open_clip" else _OPEN_CLIP_ONLY
        wrong = [name for name in foreign if getattr(self, name) != default[name]]
        if wrong:
            raise ConfigError(f"model.{wrong[0]} has no meaning for kind {self.kind!r}")
        if self.kind == "open_clip" and self.architecture == default["architecture"]:
            raise ConfigError("model.architecture is missing", hint='for example architecture = "ViT-B-32"')
        sizes = (self.semantic_dim, self.instance_dim, self.instance_hidden, self.text_hidden)
        if self.image_size < 0 or min(sizes) < 1 or not 0 <= self.drop_path < 1:
            raise ConfigError("model needs image_size >= 0, dimensions and widths of 1 or more, and 0 <= drop_path < 1")


@dataclass(frozen=True)
class TuningConfig:
    """Which weights are trained, and what is added to the others.

    Attributes:
        method: ``"full"`` trains all; ``"lora"`` adds matrices of low rank to weight matrices (Hu et al. 2022);
            ``"adapter"`` puts a narrow layer beside every MLP (He et al. 2022, parallel adapter); ``"prompt"`` adds
            learned tokens to the image transformer (Jia et al. 2022); ``"bitfit"`` trains biases (Ben Zaken et al.
            2022); ``"probe"`` trains the last projections alone. The learned temperature is always trained.
        sides: towers that the method applies to; the other one stays frozen.
        lock: tower that is frozen whatever else is said ("text" or "image"; empty: none). Zhai et al. 2022.
        rank: of the added matrices (lora).
        alpha: their sum is multiplied with ``alpha / rank`` (lora).
        targets: shell patterns of module names that get such matrices (lora); empty means every linear layer, attention
            projection and convolution.
        width: of the narrow layers (adapter).
        tokens: learned tokens (prompt).
        depth: layers that get tokens of their own (prompt): 1 means the first alone, 0 all of them (prefix tuning).
        also: shell patterns of further weights that are trained as they are.
    """

    method: str = "full"
    sides: list[str] = field(default_factory=lambda: list(SIDES))
    lock: str = ""
    rank: int = 8
    alpha: float = 16.0
    targets: list[str] = field(default_factory=list)
    width: int = 32
    tokens: int = 8
    depth: int = 1
    also: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        tables.one_of(self.method, METHODS, "tuning.method")
        for side in self.sides:
            tables.one_of(side, SIDES, "tuning.sides")
        if self.lock:
            tables.one_of(self.lock, SIDES, "tuning.lock")
        if not self.sides or min(self.rank, self.width, self.tokens) < 1 or self.depth < 0:
            raise ConfigError("tuning needs a side, rank, width and tokens of 1 or more, and depth of 0 or more")
        if not 0 < self.alpha < math.inf:
            raise ConfigError(f"tuning.alpha must be above 0, not {self.alpha}")
        if self.method == "full" and self.sides != list(SIDES):
            raise ConfigError("tuning.sides has no meaning for method 'full'", hint='use lock = "text" or "image"')


@dataclass(frozen=True)
class OptimConfig:
    """How it is trained.

    Attributes:
        epochs: passes over the data.
        batch: images a step, over all devices.
        sizes: ``[share of the run already done, side in px]`` pairs: progressive resizing (mini).
        lr: peak learning rate of AdamW.
        weight_decay: not applied to norms and biases.
        warmup: share of the steps spent warming up.
        ema: decay of the running average of the weights.
        clip: largest norm of the gradient.
        loss: between pictures and texts: ``"infonce"`` (softmax over the batch) or ``"siglip"`` (a decision a pair).
        views: 2, or 1 when there is no instance loss: the first view with a caption alone.
        instance_weight: weight of the instance loss beside the text loss.
        instance_temperature: temperature of the instance loss.
        class_weight: weight of the loss that tells the classes of a picture's own set apart by their prompts.
        smoothing: label smoothing of that loss.
        shared_classes: a picture is also told apart among the classes of other sets, where one has a name in common
            with its own (a baseball field of one set is the baseball diamond of another).
        mix: share of labelled views that are blended with another picture of their set, or get a piece of it, and then
            serve the class loss only, as both classes by their shares (mixup, CutMix).
        wild: share of second views recoloured beyond recognition of a class: they serve the instance loss only.
        accumulate: parts in which a batch is worked through; the losses still see all of it (cached gradients).
        checkpointing: recompute activations in the backward pass instead of keeping them (open_clip).
        precision: ``"bf16"`` or ``"f32"``.
        threads: torch threads; 0 leaves the default.
        save_steps: steps between two checkpoints; one is also written after every epoch.
    """

    epochs: int = 40
    batch: int = 128
    sizes: list[list[float]] = field(default_factory=lambda: [[0.0, 96]])
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    ema: float = 0.999
    clip: float = 1.0
    loss: str = "infonce"
    views: int = 2
    instance_weight: float = 1.0
    instance_temperature: float = 0.12
    class_weight: float = 0.0
    smoothing: float = 0.1
    shared_classes: bool = False
    mix: float = 0.0
    wild: float = 0.0
    accumulate: int = 1
    checkpointing: bool = False
    precision: str = "bf16"
    threads: int = 2
    save_steps: int = 500

    def __post_init__(self) -> None:
        tables.one_of(self.precision, ("bf16", "f32"), "optim.precision")
        tables.one_of(self.loss, LOSSES, "optim.loss")
        if self.epochs < 1 or self.batch < 2 or not _are_sizes(self.sizes):
            raise ConfigError(
                "optim needs epochs >= 1, batch >= 2 and sizes that begin at share 0",
                hint="sizes = [[0.0, 64], [0.5, 96]]: pairs of a rising share and a side in px",
            )
        if not 1 <= self.accumulate <= self.batch or self.save_steps < 1 or self.threads < 0:
            raise ConfigError("optim needs accumulate from 1 to batch, save_steps >= 1 and threads >= 0")
        if not (self.lr > 0 and self.clip > 0 and self.instance_temperature > 0):
            raise ConfigError(
                "optim needs lr, clip and instance_temperature above 0",
                hint="a clip of 0 would leave no gradient; a large one clips nothing",
            )
        for name in ("lr", "weight_decay", "instance_weight", "class_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"optim.{name} must be 0 or more and finite, not {getattr(self, name)}")
        for name in ("warmup", "ema", "smoothing", "wild"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"optim.{name} is a share from 0 to 1, not {getattr(self, name)}")
        if not 0 <= self.mix <= 1 or (self.mix and not self.class_weight):
            raise ConfigError("optim.mix is a share from 0 to 1 and needs a class_weight")
        if self.views not in (1, 2):
            raise ConfigError(f"optim.views must be 1 or 2, not {self.views}")
        if self.views == 1 and self.instance_weight:
            raise ConfigError(
                "optim.views = 1 leaves nothing for the instance loss", hint="set optim.instance_weight = 0"
            )

    def size_at(self, share: float) -> int:
        """Side of the training images in px when ``share`` (0..1) of the run is done."""
        return int([side for start, side in self.sizes if start <= share][-1])


def _are_sizes(sizes: list[list[float]]) -> bool:
    """Whether these are pairs of a share that rises from 0 and a side."""
    if not sizes or any(len(pair) != 2 or pair[1] < 1 for pair in sizes):
        return False
    shares = [share for share, _ in sizes]
    return shares[0] == 0 and shares == sorted(set(shares))


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    name: str = "mini"
    version: str = "1"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be 0 or more and have at most 63 bits, not {self.seed}")
        if self.model.kind == "open_clip" and self.optim.sizes != OptimConfig().sizes:
            raise ConfigError("optim.sizes has no meaning for kind 'open_clip'", hint="set model.image_size")


@dataclass(frozen=True)
class TrainResult:
    """What a finished run left behind.

    Attributes:
        run_dir: the run folder.
        steps: optimiser steps done in all.
        seconds: wall-clock time of this call.
        metrics: the last line of ``metrics.jsonl``.
    """

    run_dir: Path
    steps: int
    seconds: float
    metrics: dict[str, Any]


def parse_config(table: dict[str, Any]) -> TrainConfig:
    """Check a parsed table and return the settings.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    config: TrainConfig = tables.build(TrainConfig, table, "config")
    return config


def load_config(path: Path, settings: Sequence[str] = ()) -> TrainConfig:
    """Read settings from a TOML file.

    Args:
        path: the file.
        settings: values that replace those of the file, as ``"optim.lr=1e-4"``.

    Raises:
        ConfigError: unreadable file, unknown key or a value of the wrong type.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}") from exc
    return parse_config(tables.override(table, settings))
