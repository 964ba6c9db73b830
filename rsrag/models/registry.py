"""The registry: models and profiles as data, and the one function that turns a row into a running model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rsrag.config import Settings
from rsrag.errors import ConfigError, MissingExtra, ModelError
from rsrag.models import weights
from rsrag.models.base import ModelRow, Profile

MODELS: tuple[ModelRow, ...] = (
    ModelRow(
        "mini-image",
        "image",
        "mini_image",
        "weights/mini/image",
        dim=384,
        input_size=176,
        licence="Apache-2.0; see model card",
    ),
    ModelRow("mini-text", "text", "mini_text", "weights/mini/text", dim=256, licence="Apache-2.0"),
    ModelRow("mini-sentence", "text", "mini_sentence", "weights/mini/text2", dim=896, licence="Apache-2.0"),
    ModelRow("mini-ranker", "reranker", "light_ranker", "weights/mini", licence="Apache-2.0"),
    ModelRow("extractive", "reader", "extractive", "", licence="Apache-2.0"),
    # GeoRSCLIP's authors evaluate over open_clip's "openai" weights, which always run with QuickGELU.
    ModelRow(
        "georsclip-vit-b-32",
        "image",
        "open_clip",
        "Zilun/GeoRSCLIP",
        revision="4920188e6eba4e711ef9848cfd7cb77e874ee33f",
        dim=512,
        input_size=224,
        licence="tagged 'cc' on the hub, no version named; code MIT",
        options={
            "architecture": "ViT-B-32-quickgelu",
            "file": "ckpt/RS5M_ViT-B-32.pt",
            "sha256": "129bafaa6a097b8be52e2babf27d24f0a934dae919201e538dc698611bd1ea01",
            "resize": "crop",
        },
    ),
    # The H/14 tower starts from LAION-2B weights, which use the exact GELU.
    ModelRow(
        "georsclip-vit-h-14",
        "image",
        "open_clip",
        "Zilun/GeoRSCLIP",
        revision="4920188e6eba4e711ef9848cfd7cb77e874ee33f",
        dim=1024,
        input_size=224,
        licence="tagged 'cc' on the hub, no version named; code MIT",
        options={"architecture": "ViT-H-14", "file": "ckpt/RS5M_ViT-H-14.pt", "resize": "crop"},
    ),
    # RemoteCLIP continues OpenAI's weights, and its authors' retrieval script runs them with QuickGELU.
    ModelRow(
        "remoteclip-vit-b-32",
        "image",
        "open_clip",
        "chendelong/RemoteCLIP",
        revision="bf1d8a3ccf2ddbf7c875705e46373bfe542bce38",
        dim=512,
        input_size=224,
        licence="Apache-2.0",
        options={
            "architecture": "ViT-B-32-quickgelu",
            "file": "RemoteCLIP-ViT-B-32.pt",
            "sha256": "60014e395d930a3f2963d1d89c8522bf4ad56775571e4356e866864789af85c4",
            "resize": "crop",
        },
    ),
    ModelRow(
        "remoteclip-vit-l-14",
        "image",
        "open_clip",
        "chendelong/RemoteCLIP",
        revision="bf1d8a3ccf2ddbf7c875705e46373bfe542bce38",
        dim=768,
        input_size=224,
        licence="Apache-2.0",
        options={"architecture": "ViT-L-14-quickgelu", "file": "RemoteCLIP-ViT-L-14.pt", "resize": "crop"},
    ),
    # SkyCLIP B/32 continues LAION-2B weights (exact GELU); published as a zip, not on the hub.
    ModelRow(
        "skyclip-vit-b-32",
        "image",
        "open_clip",
        "",
        dim=512,
        input_size=224,
        licence="MIT code; see the data set's terms",
        options={
            "architecture": "ViT-B-32",
            "file": "epoch_20.pt",
            "published": "https://opendatasharing.s3.us-west-2.amazonaws.com/SkyScript/ckpt/SkyCLIP_ViT_B32_top50pct.zip",
            "resize": "crop",
        },
    ),
    ModelRow(
        "all-minilm-l6-v2",
        "text",
        "sentence_transformers",
        "sentence-transformers/all-MiniLM-L6-v2",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        dim=384,
        licence="Apache-2.0",
    ),
    ModelRow(
        "bge-large-en-v1.5",
        "text",
        "sentence_transformers",
        "BAAI/bge-large-en-v1.5",
        revision="d4aa6901d3a41ba39fb536a557fa166f842b0e09",
        dim=1024,
        licence="MIT",
        options={"question_prompt": "Represent this sentence for searching relevant passages: "},
    ),
    ModelRow(
        "ms-marco-minilm-l6",
        "reranker",
        "cross_encoder",
        "cross-encoder/ms-marco-MiniLM-L6-v2",
        revision="c5ee24cb16019beea0893ab7796b1df96625c6b8",
        licence="Apache-2.0",
    ),
    ModelRow(
        "qwen3-vl-4b",
        "reader",
        "transformers_vlm",
        "Qwen/Qwen3-VL-4B-Instruct",
        revision="ebb281ec70b05090aa6165b016eac8ec08e71b17",
        licence="Apache-2.0",
        options={"boxes": "0-1000"},
    ),
    ModelRow(
        "qwen2.5-vl-3b",
        "reader",
        "transformers_vlm",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        revision="66285546d2b821cf421d4f5eb2576359d3770cd3",
        licence="Qwen Research License: no commercial use",
        options={"boxes": "absolute pixels", "multiple": "28"},
    ),
    # Detectors by words. Both are pinned to the commits that hold safetensors.
    ModelRow(
        "grounding-dino-tiny",
        "detector",
        "transformers_detector",
        "IDEA-Research/grounding-dino-tiny",
        revision="a2bb814dd30d776dcf7e30523b00659f4f141c71",
        licence="Apache-2.0",
        options={"words": "sentence", "threshold": "0.25"},
    ),
    ModelRow(
        "owlv2-base-patch16-ensemble",
        "detector",
        "transformers_detector",
        "google/owlv2-base-patch16-ensemble",
        revision="cfd3195ba4ea9592eec887ded089f4c08eff231d",
        licence="Apache-2.0",
        options={"words": "list", "threshold": "0.2"},
    ),
    # Masks of what lies in boxes.
    ModelRow(
        "sam-vit-base",
        "segmenter",
        "transformers_segmenter",
        "facebook/sam-vit-base",
        revision="70c1a07f894ebb5b307fd9eaaee97b9dfc16068f",
        licence="Apache-2.0",
        options={"prompt": "boxes"},
    ),
    ModelRow("endpoint", "reader", "endpoint", "", licence="as served"),
)

PROFILES: Mapping[str, Mapping[str, str]] = {
    "mini": {"image": "mini-image", "text": "mini-text", "reranker": "mini-ranker", "reader": "extractive"},
    "base": {
        "image": "georsclip-vit-b-32",
        "text": "all-minilm-l6-v2",
        "reranker": "mini-ranker",
        "reader": "qwen3-vl-4b",
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
    "mini_sentence": "rsrag.models.minitext:MiniSentenceEncoder",
    "light_ranker": "rsrag.rerank:LightReranker",
    "extractive": "rsrag.models.extractive:ExtractiveReader",
    "open_clip": "rsrag.models.openclip:OpenClipEncoder",
    "exported": "rsrag.models.exported:ExportedEncoder",
    "sentence_transformers": "rsrag.models.sentence:SentenceEncoder",
    "cross_encoder": "rsrag.models.sentence:CrossEncoderReranker",
    "transformers_vlm": "rsrag.models.vlm:VlmReader",
    "endpoint": "rsrag.models.endpoint:EndpointReader",
    "transformers_detector": "rsrag.models.detector:TransformersDetector",
    "transformers_segmenter": "rsrag.models.segmenter:TransformersSegmenter",
}
_KINDS: Mapping[str, str] = {**{row.backend: row.kind for row in MODELS}, "exported": "image"}
"""What the models of each backend are for."""
_ROLES = ("image", "text", "reranker", "reader")
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "open_clip": ("torch", "open_clip"),
    "sentence_transformers": ("torch", "sentence_transformers"),
    "cross_encoder": ("torch", "sentence_transformers"),
    "transformers_vlm": ("torch", "torchvision", "transformers"),
    "transformers_detector": ("torch", "torchvision", "transformers"),
    "transformers_segmenter": ("torch", "torchvision", "transformers"),
    "endpoint": ("langchain_openai",),
}


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


def available(row: ModelRow, settings: Settings) -> tuple[bool, str]:
    """Whether a model can be loaded here without a network, and what is missing or where it lies.

    Nothing is loaded and no socket opened, so damaged files are found only later, at first use.
    """
    missing = _missing(row)
    if missing:
        extra = "endpoint" if row.backend == "endpoint" else "models"
        return False, f"needs {', '.join(missing)}: pip install 'rsrag[{extra}]'"
    if row.backend == "endpoint":
        if settings.endpoint_url and settings.endpoint_model:
            return True, f"{settings.endpoint_model} at {settings.endpoint_url}"
        return False, "needs the settings endpoint_url and endpoint_model"
    if row.backend not in _PACKAGES:
        return True, "part of rsrag"
    try:
        path = weights.locate(row, replace(settings, offline=True))
        if row.backend == "open_clip":
            path = weights.one_weights_file(path, row.options.get("file"))
    except ModelError as error:
        return False, str(error)
    return True, str(path)


def _missing(row: ModelRow) -> list[str]:
    return [package for package in _PACKAGES.get(row.backend, ()) if find_spec(package) is None]


def pull(name: str, settings: Settings) -> Path:
    """Fetch the weights of a model from the hub, and convert them where they are published as a pickle only.

    Args:
        name: a model's name, or a hub id with a revision, "owner/name@commit".
        settings: ``offline`` must be off.

    Returns:
        The directory in the hub's cache, or the converted file.

    Raises:
        MissingExtra: what must be converted could not be.
        ModelError: offline, nothing to fetch, no revision, or the hub failed.
        BadModelFile: what came has another digest, no safetensors, or does not fit.
    """
    row = next((r for r in MODELS if r.name == name), None)
    if row is None and "/" in name:
        row = ModelRow(name, "reader", "transformers_vlm", name)
    row = row or find(name)
    hub = weights.hub_id(row)
    if row.backend not in _PACKAGES or row.backend == "endpoint":
        raise ModelError(f"model {row.name} has no weights to fetch")
    if hub is None:
        where = row.options.get("published", "its authors' page")
        hint = f"download {where}, then rsrag models convert FILE --model {row.name}"
        raise ModelError(f"model {row.name} is not on the hub", hint=hint)
    if settings.offline:
        raise ModelError(f"offline: {hub[0]} is not fetched", hint="set offline = false, or RSRAG_OFFLINE=false")
    published = row.options.get("file")
    if published is not None and not published.endswith(".safetensors"):
        missing = _missing(row)
        if missing:  # before hundreds of megabytes are fetched that could not be converted
            raise MissingExtra("the conversion of weights", extra="models", package=missing[0])
        return install(row.name, weights.fetch_file(*hub, published)).path
    path = weights.snapshot(*hub, local=False)
    if path is None or not any(path.rglob("*.safetensors")):
        raise ModelError(f"{hub[0]} holds no .safetensors files", hint="rsrag reads no other format")
    return path


def install(name: str, source: Path, destination: Path | None = None) -> weights.Converted:
    """Convert the published checkpoint of a model of the registry; by default to where the model is looked for.

    Raises:
        ModelError: no such model, or one that needs no conversion.
        BadModelFile: see :func:`rsrag.models.weights.convert`.
    """
    row = find(name)
    architecture = row.options.get("architecture")
    if architecture is None:
        raise ModelError(f"model {name} needs no conversion")
    target = destination or weights.converted_path(row)
    return weights.convert(source, target, architecture, sha256=row.options.get("sha256"))


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
        _check_fields(entry, f"profile {path}, {role}")
        try:
            row = ModelRow(**{"name": entry.get("source", role), "kind": role, **entry})
            row = replace(row, bands=tuple(row.bands), options=_texts(row.options, f"profile {path}, {role}"))
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"profile {path}, {role}: {error}") from error
    if row.kind != role:
        raise ConfigError(f"profile {path}: {row.name} is a model for {row.kind}, not for {role}")
    serves = _KINDS.get(row.backend, role)
    if serves != role:
        raise ConfigError(f"profile {path}: backend {row.backend} is for {serves}, not for {role}")
    return row


_TYPES: Mapping[str, tuple[type, str]] = {
    **dict.fromkeys(("name", "backend", "source", "revision", "licence"), (str, "a text")),
    **dict.fromkeys(("dim", "input_size"), (int, "a whole number")),
    "options": (dict, "a table"),
}


def _check_fields(entry: Any, where: str) -> None:
    """Refuse a table of a profile whose values have other types than :class:`ModelRow` has."""
    for name, (kind, words) in _TYPES.items():
        if not isinstance(entry, dict) or name not in entry:
            continue
        value = entry[name]
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
            raise ConfigError(f"{where}: {name} must be {words}, not {value!r}")


def _texts(options: Mapping[str, Any], where: str) -> dict[str, str]:
    """Options as the backends read them: texts; a number may stand without quotes."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"{where}: option {name} must be a text, not {value!r}")
    return {name: str(value) for name, value in options.items()}
