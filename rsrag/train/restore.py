"""From a run folder back to its dual encoder."""

from __future__ import annotations

import json
from pathlib import Path

from rsrag.errors import BadModelFile
from rsrag.train import checkpoint, tuning
from rsrag.train.config import TrainConfig, parse_config
from rsrag.train.towers import Tower, build_tower


def load_tower(run_dir: Path, *, merged: bool = True) -> tuple[TrainConfig, Tower]:
    """Settings and averaged weights of a run, in evaluation mode, float32 on the CPU.

    Args:
        run_dir: folder of a run, finished or not.
        merged: make what tuning added part of the weights.

    Raises:
        BadModelFile: no readable checkpoint, or the frozen weights are not those of the run.
    """
    try:
        config = parse_config(json.loads((run_dir / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadModelFile(f"{run_dir} is no run folder: {error}") from error
    state = checkpoint.load(run_dir)
    if state is None:
        raise BadModelFile(f"{run_dir} has no checkpoint")
    tower = build_tower(config)
    tuning.apply(tower, config.tuning)
    check_frozen(tower, state.get("frozen", ""), str(run_dir))
    checkpoint.load_moving(tower, state["average"], f"the checkpoint in {run_dir}")
    tower.eval()
    if merged:
        tuning.merge(tower)
    return config, tower


def check_frozen(tower: Tower, digest: str, where: str) -> None:
    """Refuse to continue from other frozen weights than a run began with.

    Raises:
        BadModelFile: they differ.
    """
    if digest and checkpoint.frozen_digest(tower) != digest:
        raise BadModelFile(
            f"the frozen weights are not those that {where} began with",
            hint="the pretrained file was changed, or a random start is drawn otherwise by this version of torch",
        )
