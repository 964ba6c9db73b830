"""An open_clip architecture of a few weights (and a large vocabulary), and settings that train it in seconds."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def write_architecture(folder: Path) -> Path:
    """The architecture as a JSON file."""
    path = folder / "tiny.json"
    path.write_text(json.dumps(ARCHITECTURE), encoding="utf-8")
    return path


def clip_table(toy_table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of a toy run, for the tiny architecture: one view, no instance loss."""
    table = deepcopy(toy_table)
    table["model"] = {"kind": "open_clip", "architecture": str(write_architecture(folder))}
    table["optim"].pop("sizes")
    table["optim"] |= {"views": 1, "instance_weight": 0.0, "lr": 3e-3}
    table["data"].pop("mosaic")
    return table
