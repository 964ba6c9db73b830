"""Training of dual encoders: the small one that ships, and any of open_clip.

Importing this package needs neither torch nor OpenCV; the two public functions load them when they are called::

    config = load_config(Path("rsrag/train/configs/mini.toml"))
    train_encoder(config, run_dir=Path("runs/mini"), data_dir=Path("../shared/data"))
    export_encoder(Path("runs/mini"), Path("weights/image"))
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rsrag.errors import MissingExtra
from rsrag.progress import Progress
from rsrag.train.config import TrainConfig, TrainResult, load_config

__all__ = ["TrainConfig", "TrainResult", "export_encoder", "load_config", "train_encoder"]


def _need(*modules: str) -> None:
    """Name the first module that is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra("training", extra="train", package=module)


def train_encoder(
    config: TrainConfig,
    *,
    run_dir: Path,
    data_dir: Path,
    resume: bool = True,
    progress: Callable[[dict[str, Any]], None] | None = None,
    steps: Progress | None = None,
    export: bool = True,
) -> TrainResult:
    """Train a dual encoder; see :func:`rsrag.train.encoder.train_encoder`.

    Raises:
        MissingExtra: torch, or what the model comes from (timm or open_clip), is not installed.
    """
    _need("torch", "timm" if config.model.kind == "mini" else "open_clip")
    from rsrag.train.encoder import train_encoder as run

    return run(
        config,
        run_dir=run_dir,
        data_dir=data_dir,
        resume=resume,
        progress=progress,
        steps=steps,
        export=export,
    )


def export_encoder(run_dir: Path, out_dir: Path, **options: Any) -> dict[str, Any]:
    """Write the shipped files of a run; see :func:`rsrag.train.export.export_encoder`.

    Raises:
        MissingExtra: torch, timm or onnxscript is not installed.
    """
    _need("torch", "timm", "onnx", "onnxscript")
    from rsrag.train.export import export_encoder as run

    return run(run_dir, out_dir, **options)
