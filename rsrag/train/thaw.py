"""Exported mini towers made fit for training again: batch norms, which an export folds away, are given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rsrag.errors import BadModelFile
from rsrag.models.quantise import PART, weights

if TYPE_CHECKING:
    from rsrag.train.towers.mini import MiniTower

GRAPH, HEAD, CONFIG = "encoder.onnx", "text_head.safetensors", "config.json"


def is_export(folder: Path) -> bool:
    """Whether a folder holds an exported mini tower."""
    return all((folder / name).is_file() for name in (GRAPH, HEAD, CONFIG))


def thaw(tower: MiniTower, folder: Path) -> None:
    """Give a tower the weights of an export; its batch norms do nothing but add what the graph added.

    In evaluation mode the tower then is the graph, or the base of one that :mod:`rsrag.train.join` made. Before it is
    trained, :func:`settle` must see pictures.

    Raises:
        BadModelFile: the export is damaged or one of another architecture.
    """
    import onnx
    from safetensors.torch import load_file

    try:
        graph = onnx.load(str(folder / GRAPH)).graph
        head = load_file(folder / HEAD)
        tower.text.load_state_dict(head)
        found = {name: np.array(value, dtype=np.float32) for name, value in weights(graph).items()}
        for node in graph.node:
            if node.op_type == "Conv":  # biases are named as the exporter likes
                weight, bias = (name.split(PART)[0] for name in node.input[1:3])
                found[weight.removesuffix("weight") + "bias"] = found[bias]
        with torch.no_grad():
            _fill(tower.image, found)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadModelFile(f"{folder} does not hold a tower of this architecture: {error}") from error
    tower.unsettled = True


def _fill(image: nn.Module, found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> None:
    """Copy weights by name; a convolution's bias goes to the batch norm behind it."""
    for name, convolution, norm in _folded(image):
        convolution.weight.copy_(torch.from_numpy(found[f"{name}.weight"]))
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(torch.from_numpy(found[f"{name}.bias"]))
    for name, module in image.named_modules():
        if isinstance(module, nn.Linear):
            module.weight.copy_(torch.from_numpy(found[f"{name}.weight"]))
            module.bias.copy_(torch.from_numpy(found[f"{name}.bias"]))


def _folded(image: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution with its name and the batch norm that an export folds into it."""
    name, convolution = "", None
    for here, module in image.named_modules():
        if isinstance(module, nn.Conv2d):
            name, convolution = here, module
        elif isinstance(module, nn.BatchNorm2d) and convolution is not None:
            yield name, convolution, module
            convolution = None


@torch.no_grad()  # type: ignore[untyped-decorator]
def settle(tower: MiniTower, pixels: Tensor) -> None:
    """Set the statistics of all batch norms to those of pictures, and their scales so that nothing changes.

    Args:
        tower: just thawed.
        pixels: uint8 or float32 in 0..1, [N, 3, S, S]: at least some dozens.
    """
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].transpose(0, 1).flatten(1).double()
        seen[norm] = values.mean(dim=1).float(), values.var(dim=1).float()

    norms = [norm for _, _, norm in _folded(tower.image)]
    watching = [norm.register_forward_pre_hook(look) for norm in norms]
    was = tower.training
    tower.eval()
    try:
        tower.image_vectors(pixels.float().div(255) if pixels.dtype == torch.uint8 else pixels)
    finally:
        for handle in watching:
            handle.remove()
        tower.train(was)
    for norm, (mean, variance) in seen.items():
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.add_(mean)
    tower.unsettled = False
