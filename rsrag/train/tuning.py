"""Which weights of a tower are trained: all, one side, or small additions to frozen ones."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from rsrag.errors import ConfigError
from rsrag.train.config import TuningConfig
from rsrag.train.towers.base import Tower
from rsrag.train.tuning_layers import WidenedMlp, add_low_rank, add_narrow, fold_low_rank, fold_narrow, is_mlp


def apply(tower: Tower, config: TuningConfig) -> None:
    """Freeze what is not trained and add what the method adds. The outputs stay what they were.

    (Learned tokens are the exception: they take part in attention from the start.)

    Raises:
        ConfigError: the tower has nothing that the method applies to.
    """
    if config.method != "full":
        _tune(tower, config)
    if config.lock:
        tower.lock(config.lock)
    tower.train(tower.training)


def _tune(tower: Tower, config: TuningConfig) -> None:
    sides = [side for side in config.sides if side != config.lock]
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(tower.side_of(name) == "loss" or name.startswith("instance."))
    before = tower.counts()["trainable"]
    if config.method == "lora":
        for module, tensor in _matrices(tower, sides, config.targets):
            add_low_rank(module, tensor, config.rank, config.alpha)
    elif config.method == "adapter":
        for name, module in list(tower.named_modules()):
            if is_mlp(module) and tower.side_of(name) in sides:
                add_narrow(module, config.width)
    elif config.method == "prompt":
        _add_tokens(tower, sides, config)
    elif config.method == "bitfit":
        _train_matching(tower, sides, ("*bias",))
    elif config.method == "probe":
        _train_matching(tower, sides, tower.projections())
    if tower.counts()["trainable"] == before:
        where = f"this model's {', '.join(sides)}" if sides else f"sides {', '.join(config.sides)}, which are locked"
        raise ConfigError(f"tuning.method {config.method!r} finds nothing to train in {where}")
    if config.also:
        _train_matching(tower, config.sides, tuple(config.also))


def _train_matching(tower: Tower, sides: list[str], patterns: tuple[str, ...]) -> None:
    for name, parameter in tower.named_parameters():
        if tower.side_of(name) in sides and any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(True)


def _matrices(tower: Tower, sides: list[str], targets: list[str]) -> Iterator[tuple[nn.Module, str]]:
    """Modules with the name of their weight matrix: attention projections, linear layers, convolutions."""
    for name, module in list(tower.named_modules()):
        if not name or tower.side_of(name) not in sides or name.startswith("instance."):
            continue
        if targets and not any(fnmatchcase(name, pattern) for pattern in targets):
            continue
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            yield module, "in_proj_weight"
        elif isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            yield module, "weight"


def _add_tokens(tower: Tower, sides: list[str], config: TuningConfig) -> None:
    from rsrag.models import visual_prompts

    network: Any = getattr(tower, "network", None)
    if "image" not in sides or network is None:
        raise ConfigError("tuning.method 'prompt' adds tokens to the image transformer of an open_clip model")
    visual_prompts.install(network, tokens=config.tokens, depth=config.depth)


def merge(tower: Tower) -> None:
    """Make additions part of the weights, in place; the outputs stay what they are.

    Narrow layers widen their MLPs: the ``mlp_ratio`` of an open_clip architecture is corrected. Learned tokens stay
    weights of their own, named in the architecture.
    """
    for name, module in list(tower.named_modules()):
        fold_low_rank(module)
        if isinstance(module, WidenedMlp):
            dim = module.c_fc.in_features
            _set_ratio(tower, tower.side_of(name), fold_narrow(module), dim)
    architecture: Any = getattr(tower, "architecture", None)
    network: Any = getattr(tower, "network", None)
    tokens = getattr(getattr(getattr(network, "visual", None), "transformer", None), "prompts", None)
    if tokens is not None:
        architecture["vision_cfg"]["prompts"] = {"tokens": tokens.shape[1], "depth": tokens.shape[0]}


def _set_ratio(tower: Any, side: str, hidden: int, dim: int) -> None:
    """The ratio of hidden to outer width, such that open_clip's ``int(dim * ratio)`` is exact."""
    part = tower.architecture["vision_cfg" if side == "image" else "text_cfg"]
    part["mlp_ratio"] = (hidden + 0.25) / dim
