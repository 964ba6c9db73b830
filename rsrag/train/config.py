"""The settings of a training run: frozen dataclasses read from TOML, unknown keys refused."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsrag.errors import ConfigError
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
    "load_config",
    "parse_config",
]


@dataclass(frozen=True)
class ModelConfig:
    """The two towers.

    Attributes:
        architecture: name of a timm network, randomly initialised.
        drop_path: share of residual branches left out at random in training (stochastic depth).
        semantic_dim: size of the vector aligned with the text vectors (their size).
        instance_dim: size of the vector that tells places apart.
        instance_hidden: hidden width of the instance head.
        text_hidden: hidden width of the residual text head.
        text_model: directory of the static text model; empty means the one that ships with the package.
    """

    architecture: str = "cs3darknet_s"
    drop_path: float = 0.0
    semantic_dim: int = 256
    instance_dim: int = 128
    instance_hidden: int = 512
    text_hidden: int = 512
    text_model: str = ""


@dataclass(frozen=True)
class OptimConfig:
    """How it is trained.

    Attributes:
        epochs: passes over the data.
        batch: images a step; every image gives two views.
        sizes: ``[share of the run already done, side in px]`` pairs: progressive resizing.
        lr: peak learning rate of AdamW.
        weight_decay: not applied to norms and biases.
        warmup: share of the steps spent warming up.
        ema: decay of the running average of the weights.
        clip: largest norm of the gradient.
        instance_weight: weight of the instance loss beside the text loss.
        instance_temperature: temperature of the instance loss.
        class_weight: weight of the loss that tells the classes of a picture's own set apart by their prompts.
        smoothing: label smoothing of that loss.
        wild: share of second views recoloured beyond recognition of a class: they serve the instance loss only.
        precision: ``"bf16"`` or ``"f32"``.
        threads: torch threads; 0 leaves the default.
    """

    epochs: int = 40
    batch: int = 128
    sizes: list[list[float]] = field(default_factory=lambda: [[0.0, 96]])
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    ema: float = 0.999
    clip: float = 1.0
    instance_weight: float = 1.0
    instance_temperature: float = 0.12
    class_weight: float = 0.0
    smoothing: float = 0.1
    wild: float = 0.0
    precision: str = "bf16"
    threads: int = 2

    def __post_init__(self) -> None:
        if self.precision not in ("bf16", "f32"):
            raise ConfigError(f"optim.precision must be 'bf16' or 'f32', not {self.precision!r}")
        if self.epochs < 1 or self.batch < 2 or not self.sizes or self.sizes[0][0] != 0:
            raise ConfigError("optim needs epochs >= 1, batch >= 2 and sizes that begin at share 0")

    def size_at(self, share: float) -> int:
        """Side of the training images in px when ``share`` (0..1) of the run is done."""
        return int([side for start, side in self.sizes if start <= share][-1])


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    name: str = "mini"
    version: str = "1"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


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


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed TOML into the dataclass ``kind``; ``where`` names the place in messages."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ConfigError(f"{where}: unknown key {', '.join(unknown)}", hint=f"known: {', '.join(hints)}")
        try:
            return kind(**{key: _build(hints[key], item, f"{where}.{key}") for key, item in value.items()})  # type: ignore[operator]
        except TypeError as exc:
            raise ConfigError(f"{where}: {exc}") from exc
    if origin is list:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list")
        (inner,) = typing.get_args(kind)
        return [_build(inner, item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table")
        inner = typing.get_args(kind)[1]
        return {key: _build(inner, item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def parse_config(table: dict[str, Any]) -> TrainConfig:
    """Check a parsed table and return the settings.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    config: TrainConfig = _build(TrainConfig, table, "config")
    return config


def load_config(path: Path) -> TrainConfig:
    """Read settings from a TOML file.

    Raises:
        ConfigError: unreadable file, unknown key or a value of the wrong type.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}") from exc
    return parse_config(table)
