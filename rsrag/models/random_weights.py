"""Weights that know nothing, to measure speed with where the published ones are not at hand."""

from __future__ import annotations

from pathlib import Path

from rsrag.models import architectures
from rsrag.models.base import ModelRow


def random_clip(architecture: str, folder: Path, seed: int = 0) -> ModelRow:
    """An open_clip model with random weights, written to a folder; every call with a seed gives the same.

    Args:
        architecture: an open_clip name or JSON file.
        folder: where the weights go.
        seed: of the random numbers.
    """
    import torch
    from safetensors.torch import save_file

    config = architectures.read_config(architecture)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = architectures.build(config)
    path = folder / f"{architectures.label(architecture, config)}-random-{seed}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return ModelRow(path.stem, "image", "open_clip", str(path), options={"architecture": architecture})
