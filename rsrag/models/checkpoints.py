"""Checkpoints in the layout of transformers, loaded without code of theirs, without a network, and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rsrag.config import Settings
from rsrag.errors import BadModelFile, MissingExtra
from rsrag.models import weights
from rsrag.models.base import ModelRow
from rsrag.models.devices import choose, without_progress_bars


def directory(row: ModelRow, settings: Settings) -> Path:
    """Where a model's checkpoint lies.

    Raises:
        ModelError: the directory is not there or holds no safetensors.
    """
    path = weights.locate(row, settings)
    if not path.is_dir() or not any(path.glob("*.safetensors")):
        raise BadModelFile(
            f"{row.kind} {row.name}: {path} holds no .safetensors files", hint="pickled weights are not read"
        )
    return path


def fingerprint(row: ModelRow, path: Path) -> str:
    """Digest of a checkpoint's weights and settings."""
    files = [f for pattern in ("*.safetensors", "*.json") for f in path.glob(pattern)]
    return f"{row.backend}:{weights.digest(path, files)[:16]}"


_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tekken.json", "*.model")


def must_have_vocabulary(name: str, path: Path) -> None:
    """Refuse a directory without the files of a tokenizer: transformers then makes one up that knows no word.

    Args:
        name: what the model is called in errors.
        path: holds the tokenizer's files.

    Raises:
        BadModelFile: there is none.
    """
    if not any(file for pattern in _VOCABULARIES for file in path.glob(pattern)):
        raise BadModelFile(
            f"{name}: {path} holds no vocabulary, such as tokenizer.json or vocab.txt", hint="copy the whole directory"
        )


def loaded(name: str, path: Path, kind: str, settings: Settings) -> tuple[Any, Any]:
    """Model, in evaluation mode on its device, and processor of a directory.

    Args:
        name: what it is called in errors.
        path: holds ``config.json``, safetensors, and the processor's settings.
        kind: class of transformers that loads the model.
        settings: device.

    Raises:
        MissingExtra: transformers is not installed.
        BadModelFile: the checkpoint cannot be loaded, or lacks tensors or a vocabulary.
    """
    common = {"local_files_only": True, "trust_remote_code": False}
    try:
        import torch
        import transformers

        made = getattr(transformers, kind)
        device, _ = choose(settings)
        with without_progress_bars():
            model, info = made.from_pretrained(
                path, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **common
            )
            processor = transformers.AutoProcessor.from_pretrained(path, **common)
    except ImportError as error:
        raise MissingExtra(name, extra="models", package=error.name) from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadModelFile(f"{name}: cannot load {path}: {error}") from error
    if info["missing_keys"]:
        # transformers fills what is missing with random numbers.
        missing = sorted(info["missing_keys"])
        raise BadModelFile(f"{name}: {path} lacks {len(missing)} tensors: {', '.join(missing[:5])}")
    if getattr(processor, "tokenizer", None) is not None:
        must_have_vocabulary(name, path)
    return model.to(device).eval(), processor
