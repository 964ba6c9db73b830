"""From a run folder to the files that ship: an ONNX graph, the text head and a small JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from rsrag.errors import BadModelFile
from rsrag.models.quantise import strip
from rsrag.models.weights import file_digest
from rsrag.train.choose import choose
from rsrag.train.config import TrainConfig
from rsrag.train.restore import load_tower
from rsrag.train.sources.manifest import write_train_manifest

ONNX_NAME, HEAD_NAME, CONFIG_NAME = "encoder.onnx", "text_head.safetensors", "config.json"
OPSET = 18


def load_run(run_dir: Path) -> tuple[TrainConfig, Any]:
    """Settings and averaged weights of a run of the mini tower, in evaluation mode, float32 on the CPU.

    Raises:
        BadModelFile: no readable checkpoint, or another kind of model.
    """
    config, tower = load_tower(run_dir)
    if config.model.kind != "mini":
        raise BadModelFile(f"{run_dir} is no run of the mini tower")
    return config, tower


def write_onnx(image: nn.Module, path: Path, size: int) -> None:
    """Export the image tower with a free batch size.

    Args:
        image: module from float32 [N, 3, S, S] to two matrices.
        path: file to write, weights inside.
        size: S.
    """
    example = torch.rand(2, 3, size, size)
    image = image.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    program = torch.onnx.export(
        image,
        (example,),
        input_names=["pixels"],
        output_names=["semantic", "instance"],
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1, max=4096)}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    program.save(str(path), external_data=False)
    strip(path)


def export_encoder(
    run_dir: Path,
    out_dir: Path,
    *,
    data_dir: Path | None = None,
    size: int | None = None,
    alpha: float | None = None,
    sizes: Sequence[int] = (96, 112, 128),
) -> dict[str, Any]:
    """Write ``encoder.onnx``, ``text_head.safetensors`` and ``config.json`` of the averaged weights.

    Args:
        run_dir: folder of a run, finished or not.
        out_dir: where the files go; each replaces an older one in a rename.
        data_dir: with it, input size and mixture are chosen on the held-out pictures.
        size: input size in px; overrides the choice. Without choice: the training size.
        alpha: share of the semantic part; overrides the choice. Without choice: one half.
        sizes: candidates of the choice.

    Returns:
        The content of ``config.json`` and, under ``choice``, the figures behind it.

    Raises:
        BadModelFile: the run has no readable checkpoint.
    """
    config, network = load_run(Path(run_dir))
    choice: dict[str, Any] = {}
    if data_dir is not None:
        choice = choose(config, network, Path(data_dir), sizes)
    size = size or choice.get("size") or config.optim.size_at(1.0)
    alpha = alpha if alpha is not None else choice.get("alpha", 0.5)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir) as folder:
        work = Path(folder)
        write_onnx(network.image, work / ONNX_NAME, size)
        head = {key: np.ascontiguousarray(value.numpy()) for key, value in network.text.state_dict().items()}
        save_file(head, work / HEAD_NAME)
        table = {
            "name": f"{config.name}-image",
            "version": config.version,
            "input_size": size,
            "dim": config.model.semantic_dim + config.model.instance_dim,
            "semantic_dim": config.model.semantic_dim,
            "instance_dim": config.model.instance_dim,
            "alpha": alpha,
            "sha256": {name: file_digest(work / name) for name in (ONNX_NAME, HEAD_NAME)},
        }
        (work / CONFIG_NAME).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        for name in (ONNX_NAME, HEAD_NAME, CONFIG_NAME):
            (work / name).chmod(0o644)
            (work / name).replace(out_dir / name)
    return {**table, "choice": choice}


def write_manifest(run_dir: Path, path: Path) -> int:
    """Compact list of what a run was trained on: :func:`rsrag.train.sources.manifest.write_train_manifest` of its rows.

    Args:
        run_dir: folder of a run.
        path: ``.txt.gz`` file to write; equal runs give equal bytes.

    Returns:
        The number of lines.
    """
    rows = [json.loads(line) for line in (Path(run_dir) / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return write_train_manifest(rows, path)
