"""Tensors in a file that appears once it is complete, and an error that says so when it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from rsrag.replacing import replacing


def write_tensors(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write a safetensors file; what was there before stays when the disk is full.

    Args:
        tensors: by name.
        path: file to write; its folder is there.
        about: metadata.

    Raises:
        UsageError: the operating system refuses the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as partial:
        try:
            save_file(dict(tensors), partial, metadata=dict(about))
        except SafetensorError as error:
            raise OSError(str(error)) from error
        partial.chmod(0o644)
