"""The registry: models and profiles as data, and the one function that turns a row into a running model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from rsrag.config import Settings
from rsrag.errors import ConfigError, ModelError
from rsrag.models.base import ModelRow, Profile

MODELS: tuple[ModelRow, ...] = (
    ModelRow("mini-image", "image", "mini_image", "weights/mini/image", dim=384, input_size=96, licence="Apache-2.0"),
    ModelRow("mini-text", "text", "mini_text", "weights/mini/text", dim=256, licence="Apache-2.0"),
    ModelRow("mini-ranker", "reranker", "light_ranker", "weights/mini", licence="Apache-2.0"),
    ModelRow("extractive", "reader", "extractive", "", licence="Apache-2.0"),
    ModelRow(
        "georsclip-vit-b-32",
        "image",
        "open_clip",
        "Zilun/GeoRSCLIP",
        dim=512,
        input_size=224,
        licence="CC-BY-4.0 as tagged on the hub; code MIT",
        options={"architecture": "ViT-B-32-quickgelu", "file": "ckpt/RS5M_ViT-B-32.pt"},
    ),
    ModelRow(
        "remoteclip-vit-b-32",
        "image",
        "open_clip",
        "chendelong/RemoteCLIP",
        dim=512,
        input_size=224,
        licence="Apache-2.0",
        options={"architecture": "ViT-B-32", "file": "RemoteCLIP-ViT-B-32.pt"},
    ),
    ModelRow(
        "skyclip-vit-b-32",
        "image",
        "open_clip",
        "SkyCLIP_ViT_B32_top50pct",
        dim=512,
        input_size=224,
        licence="MIT code; see the data set's terms",
        options={"architecture": "ViT-B-32", "file": "epoch_20.pt"},
    ),
    ModelRow(
        "georsclip-vit-h-14",
        "image",
        "open_clip",
        "Zilun/GeoRSCLIP",
        dim=1024,
        input_size=224,
        licence="CC-BY-4.0 as tagged on the hub; code MIT",
        options={"architecture": "ViT-H-14", "file": "ckpt/RS5M_ViT-H-14.pt"},
    ),
    ModelRow(
        "all-minilm-l6-v2",
        "text",
        "sentence_transformers",
        "sentence-transformers/all-MiniLM-L6-v2",
        dim=384,
        licence="Apache-2.0",
    ),
    ModelRow(
        "bge-large-en-v1.5",
        "text",
        "sentence_transformers",
        "BAAI/bge-large-en-v1.5",
        dim=1024,
        licence="MIT",
        options={"question_prompt": "Represent this sentence for searching relevant passages: "},
    ),
    ModelRow(
        "ms-marco-minilm-l6", "reranker", "cross_encoder", "cross-encoder/ms-marco-MiniLM-L6-v2", licence="Apache-2.0"
    ),
    ModelRow(
        "qwen2.5-vl-3b",
        "reader",
        "transformers_vlm",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        licence="Qwen research licence",
        options={"boxes": "absolute pixels"},
    ),
    ModelRow(
        "qwen3-vl-4b",
        "reader",
        "transformers_vlm",
        "Qwen/Qwen3-VL-4B-Instruct",
        licence="Apache-2.0",
        options={"boxes": "0-1000"},
    ),
    ModelRow("endpoint", "reader", "endpoint", "", licence="as served"),
)

PROFILES: Mapping[str, Mapping[str, str]] = {
    "mini": {"image": "mini-image", "text": "mini-text", "reranker": "mini-ranker", "reader": "extractive"},
    "base": {
        "image": "georsclip-vit-b-32",
        "text": "all-minilm-l6-v2",
        "reranker": "mini-ranker",
        "reader": "qwen2.5-vl-3b",
    },
    "large": {
        "image": "georsclip-vit-h-14",
        "text": "bge-large-en-v1.5",
        "reranker": "ms-marco-minilm-l6",
        "reader": "endpoint",
    },
}

_BACKENDS: Mapping[str, str] = {
    "mini_image": "rsrag.models.mini:MiniImageEncoder",
    "mini_text": "rsrag.models.mini:MiniTextEncoder",
    "light_ranker": "rsrag.rerank:LightReranker",
    "extractive": "rsrag.models.extractive:ExtractiveReader",
    "open_clip": "rsrag.models.openclip:OpenClipEncoder",
    "sentence_transformers": "rsrag.models.sentence:SentenceEncoder",
    "cross_encoder": "rsrag.models.sentence:CrossEncoderReranker",
    "transformers_vlm": "rsrag.models.vlm:VlmReader",
    "endpoint": "rsrag.models.endpoint:EndpointReader",
}
_ROLES = ("image", "text", "reranker", "reader")


def find(name: str) -> ModelRow:
    """The row of a model.

    Raises:
        ModelError: no such name.
    """
    for row in MODELS:
        if row.name == name:
            return row
    raise ModelError(f"unknown model {name!r}", hint=f"known models: {', '.join(r.name for r in MODELS)}")


def load(row: ModelRow, settings: Settings) -> Any:
    """The running model of a row. Weights are read at first use.

    Raises:
        MissingExtra: the backend's packages are not installed.
        ModelError: the weights are not there or cannot be used.
    """
    try:
        module, name = _BACKENDS[row.backend].split(":")
    except KeyError:
        known = ", ".join(_BACKENDS)
        raise ConfigError(f"model {row.name!r} has unknown backend {row.backend!r}", hint=f"one of {known}") from None
    factory: Callable[[ModelRow, Settings], Any] = getattr(import_module(module), name)
    return factory(row, settings)


def rows_of(settings: Settings) -> dict[str, ModelRow]:
    """The rows that a workspace's settings ask for, by role.

    ``settings.profile`` is a profile's name or the path of a TOML file with one entry a role: a model's name, or a
    table with the fields of :class:`ModelRow`. ``settings.reader`` replaces the reader: a model's name, "endpoint", or
    a directory with a transformers checkpoint.
    """
    if settings.profile in PROFILES:
        rows = {role: find(name) for role, name in PROFILES[settings.profile].items()}
    elif settings.profile.endswith(".toml"):
        rows = _read_profile(Path(settings.profile))
    else:
        known = ", ".join(PROFILES)
        raise ConfigError(f"unknown profile {settings.profile!r}", hint=f"one of {known}, or a .toml file")
    if settings.reader:
        known_reader = next((r for r in MODELS if r.kind == "reader" and r.name == settings.reader), None)
        rows["reader"] = known_reader or ModelRow(settings.reader, "reader", "transformers_vlm", settings.reader)
    return rows


def load_profile(settings: Settings) -> Profile:
    """The running models of a workspace."""
    rows = rows_of(settings)
    models = {role: load(row, settings) for role, row in rows.items()}
    return Profile(settings.profile, models["image"], models["text"], models.get("reader"), models.get("reranker"))


@lru_cache(maxsize=16)
def _read_profile(path: Path) -> dict[str, ModelRow]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read profile {path}: {error}") from error
    unknown = set(entries) - set(_ROLES)
    if unknown or not {"image", "text"} <= set(entries):
        raise ConfigError(f"profile {path} must name image and text", hint=f"roles: {', '.join(_ROLES)}")
    return {role: _row(role, entry, path) for role, entry in entries.items()}


def _row(role: str, entry: Any, path: Path) -> ModelRow:
    if isinstance(entry, str):
        row = find(entry)
    else:
        try:
            row = ModelRow(**{"name": entry.get("source", role), "kind": role, **entry})
            row = replace(row, bands=tuple(row.bands))
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"profile {path}, {role}: {error}") from error
    if row.kind != role:
        raise ConfigError(f"profile {path}: {row.name} is a model for {row.kind}, not for {role}")
    return row
