"""The small file of a tuned encoder: only what was trained, for the same frozen weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rsrag.errors import BadModelFile
from rsrag.train import checkpoint, tables, tuning
from rsrag.train.config import TrainConfig, TuningConfig
from rsrag.train.restore import check_frozen
from rsrag.train.towers import Tower
from rsrag.train.written import write_tensors

NAME = "adapter/adapter.safetensors"
"""Where it lies in a run folder."""


def save(tower: Tower, config: TrainConfig, path: Path) -> Path:
    """Write the trained weights of a tuned tower, with the digest of the frozen ones.

    Args:
        tower: with its additions, not merged.
        config: of its run.
        path: file to write.

    Raises:
        UsageError: it cannot be written; one that was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in checkpoint.moving(tower).items()}
    about = {
        "tuning": json.dumps(dataclasses.asdict(config.tuning)),
        "architecture": config.model.architecture,
        "frozen": checkpoint.frozen_digest(tower),
    }
    write_tensors(tensors, path, about)
    return path


def load(tower: Tower, path: Path) -> None:
    """Add a saved tuning to a tower at its start.

    Raises:
        BadModelFile: the file is damaged, or belongs to other frozen weights.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            about = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        config: TuningConfig = tables.build(TuningConfig, json.loads(about["tuning"]), "tuning")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadModelFile(f"{path} is no adapter: {error}") from error
    tuning.apply(tower, config)
    check_frozen(tower, about.get("frozen", ""), str(path))
    checkpoint.load_moving(tower, tensors, str(path))
