"""Which image encoder a suite measures: a profile's, one of the registry, or weights that lie in a file or folder."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rsrag.config import Settings, resolve
from rsrag.errors import BadModelFile, ConfigError, ModelError, UsageError
from rsrag.models import registry, weights
from rsrag.models.base import ImageEncoder, ModelRow, Vectors
from rsrag.models.turns import vectors_of
from rsrag.progress import Progress, Silent

if TYPE_CHECKING:
    from rsrag.eval.datasets.images import ImageSet

_TEXTS = 4096


def encoder_settings(profile: str | None = None) -> Settings:
    """Settings of the environment, with the profile that was asked for."""
    return resolve(arguments={"profile": profile}).settings


def choose_row(profile: str | None = None, encoder: str | None = None) -> ModelRow:
    """The registry row of the image encoder that was asked for; without any wish, that of the default profile.

    Args:
        profile: a profile's name, or a TOML file with one entry a role.
        encoder: a model's name; a folder with an exported small tower (``config.json`` and ``encoder.onnx``) or with
            one .safetensors file of an open_clip model; such a file; or a TOML file with the fields of
            :class:`rsrag.models.base.ModelRow`.

    Raises:
        UsageError: both were named, or neither a model nor a path has that name.
        ModelError: what lies there is no image encoder.
    """
    if profile is not None and encoder is not None:
        raise UsageError("both a profile and an encoder were named", hint="give --profile or --encoder")
    if encoder is None:
        return registry.rows_of(encoder_settings(profile))["image"]
    path = Path(encoder).expanduser()
    known = next((row for row in registry.MODELS if row.name == encoder), None)
    if known is not None:
        if known.kind != "image":
            raise UsageError(f"{encoder} is a model for {known.kind}, not for images", hint=_names())
        return known
    if path.is_dir():
        return _folder(path.resolve())
    if path.is_file():
        return _file(path.resolve())
    raise UsageError(f"no image encoder {encoder!r}: neither a model's name nor a path", hint=_names())


def open_encoder(profile: str | None = None, encoder: str | None = None) -> ImageEncoder:
    """The running image encoder; see :func:`choose_row` for the arguments. Weights may be read at first use only.

    Raises:
        UsageError: both were named, or neither a model nor a path has that name.
        MissingExtra: the encoder's packages are not installed.
        ModelError: its weights are not there or cannot be used.
    """
    return start_encoder(choose_row(profile, encoder), encoder_settings(profile))


def start_encoder(row: ModelRow, settings: Settings | None = None) -> ImageEncoder:
    """The running image encoder of a row.

    Raises:
        MissingExtra: its packages are not installed.
        ModelError: its weights are not there or cannot be used.
    """
    try:
        model = registry.load(row, settings or encoder_settings())
    except (KeyError, TypeError, ValueError) as error:  # a config.json without what the loader needs
        raise BadModelFile(f"model {row.name}: {row.source} lacks or garbles {error}") from error
    if not isinstance(model, ImageEncoder):
        raise ModelError(f"model {row.name} does not encode images")
    return model


def _names() -> str:
    return "known encoders: " + ", ".join(row.name for row in registry.MODELS if row.kind == "image")


def _folder(path: Path) -> ModelRow:
    if (path / "encoder.onnx").is_file():
        if not (path / "config.json").is_file():
            raise BadModelFile(f"{path} holds encoder.onnx but no config.json", hint="export the tower again")
        return ModelRow(path.name, "image", "mini_image", str(path))
    found = sorted(path.glob("*.safetensors"))
    if len(found) == 1:
        return _file(found[0])
    what = "several .safetensors files" if found else "neither encoder.onnx nor a .safetensors file"
    raise BadModelFile(f"{path} holds {what}", hint="name an exported tower, or the file itself")


def _file(path: Path) -> ModelRow:
    if path.suffix == ".toml":
        return _toml(path)
    weights.refuse_pickle(path)
    if weights.read_side_car(path) is None:
        hint = "convert it with rsrag models convert, or name a TOML file with backend, source and options.architecture"
        raise BadModelFile(f"nothing says which architecture {path} has", hint=hint)
    return ModelRow(path.stem, "image", "open_clip", str(path))


def _toml(path: Path) -> ModelRow:
    try:
        entry: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    allowed = {item.name for item in fields(ModelRow)}
    unknown = sorted(set(entry) - allowed)
    if unknown:
        hint = f"fields: {', '.join(sorted(allowed))}; a file with roles goes to --profile"
        raise ConfigError(f"{path}: unknown {', '.join(unknown)}", hint=hint)
    missing = [name for name in ("backend", "source") if not isinstance(entry.get(name), str)]
    if missing:
        raise ConfigError(f"{path}: {' and '.join(missing)} must be given as text")
    if not isinstance(entry.get("options", {}), Mapping):
        raise ConfigError(f"{path}: options must be a table")
    row = ModelRow(**{"name": path.stem, "kind": "image", **entry})
    if row.kind != "image":
        raise ConfigError(f"{path}: a model for {row.kind}, not for images")
    local = path.parent / row.source
    return replace(row, bands=tuple(row.bands), source=str(local) if local.exists() else row.source)


def embed(encoder: ImageEncoder, images: ImageSet, progress: Progress | None = None, *, turns: int = 1) -> Vectors:
    """Encode every picture of a set, a batch at a time: float32 of shape [N, dim], unit length, in the set's order.

    Args:
        encoder: of pictures.
        images: the set.
        progress: told of every picture.
        turns: 1, 2, 4 or 8 turns and mirror images of a picture whose vectors are averaged.

    Raises:
        ModelError: the encoder gave vectors of another shape, or not finite.
        SourceError: a picture could be read when the set was listed, but not any more.
    """
    progress = progress or Silent()
    parts: list[Vectors] = [np.zeros((0, encoder.dim), dtype=np.float32)]
    progress.start("encoding", len(images.items), unit="pictures")
    for pictures in images.batches():
        vectors = vectors_of(encoder, pictures, turns) if turns > 1 else encoder.encode_images(pictures)
        parts.append(_checked(encoder, vectors, len(pictures), f"pictures of {images.name}"))
        progress.advance(len(pictures))
    progress.finish()
    return np.concatenate(parts)


def embed_words(encoder: ImageEncoder, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
    """Encode texts as queries against picture vectors: float32 of shape [N, dim].

    Raises:
        ModelError: the encoder gave vectors of another shape, or not finite.
    """
    progress = progress or Silent()
    parts: list[Vectors] = [np.zeros((0, encoder.dim), dtype=np.float32)]
    progress.start("encoding", len(texts), unit="texts")
    for start in range(0, len(texts), _TEXTS):
        block = list(texts[start : start + _TEXTS])
        parts.append(_checked(encoder, encoder.encode_words(block), len(block), "texts"))
        progress.advance(len(block))
    progress.finish()
    return np.concatenate(parts)


def _checked(encoder: ImageEncoder, given: Any, count: int, what: str) -> Vectors:
    vectors: Vectors = np.asarray(given, dtype=np.float32)
    if vectors.shape != (count, encoder.dim) or not np.isfinite(vectors).all():
        raise ModelError(f"model {encoder.name} gave no usable vectors for {what}")
    return vectors
