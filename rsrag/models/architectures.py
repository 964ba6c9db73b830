"""Architectures of open_clip models: from a name or a JSON file to a network and the tensors it needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsrag.errors import BadModelFile, MissingExtra, ModelError
from rsrag.models import visual_prompts

Config = dict[str, Any]
_NEEDED = {"embed_dim", "vision_cfg", "text_cfg"}
BESIDE = "open_clip_config.json"
"""What the architecture lies in beside the weights of an open_clip model on the hub."""
_PICTURES = "preprocess_cfg"
_RESIZE_MODES = {"shortest": "crop", "squash": "squash"}
"""open_clip's names of :data:`rsrag.models.resize.WAYS`."""

# Mean and standard deviation of CLIP's training pictures (Radford et al. 2021), which most models use.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Pictures:
    """How a model wants its pictures: mean and standard deviation by channel, on values from 0 to 1, and how they are
    brought to its size (:func:`rsrag.models.resize.resized`)."""

    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    way: str = "crop"
    bilinear: bool = False


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtra("open_clip", extra="models", package=error.name) from error
    return open_clip


def read_config(architecture: str) -> Config:
    """The configuration of an architecture.

    Args:
        architecture: a name that open_clip knows ("ViT-B-32-quickgelu"), or the path of a JSON file in its format.

    Raises:
        MissingExtra: open_clip is not installed (needed for a name only).
        ModelError: no such name or file, or one whose text part open_clip would have to fetch.
    """
    if architecture.endswith(".json"):
        config = _read_json(Path(architecture))
    else:
        config = _open_clip().get_model_config(architecture)
        if config is None:
            raise ModelError(f"open_clip knows no architecture {architecture!r}", hint="see open_clip.list_models()")
    return checked(config, architecture)


def _read_json(path: Path) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModelFile(f"cannot read the architecture {path}: {error}") from error
    if not isinstance(found, dict):
        return found
    # Files beside open_clip weights on the hub wrap the architecture, and say how pictures are prepared.
    config = found.get("model_cfg", found)
    own = found.get(_PICTURES)
    if not isinstance(config, dict) or own is None:
        return config
    rest = {key: value for key, value in config.items() if key != _PICTURES}
    # Nothing is noted where they are prepared as for CLIP, so that the label is that of the architecture alone.
    return rest if pictures({_PICTURES: own}, str(path)) == Pictures() else {**rest, _PICTURES: own}


def pictures(config: Mapping[str, Any], name: str = "") -> Pictures:
    """How the model of a configuration wants its pictures; as CLIP does where it does not say.

    Raises:
        BadModelFile: figures that are none.
        ModelError: pictures that are to be padded.
    """
    said = config.get(_PICTURES) or {}
    if not isinstance(said, Mapping):
        raise BadModelFile(f"architecture {name}: {_PICTURES} must be an object")
    mode, filtered = said.get("resize_mode") or "shortest", said.get("interpolation") or "bicubic"
    if mode not in _RESIZE_MODES:
        raise ModelError(
            f"architecture {name}: resize_mode is {mode!r}", hint=f"only {' and '.join(_RESIZE_MODES)} are supported"
        )
    if filtered not in ("bicubic", "bilinear", "random"):  # at random in training: bicubic afterwards
        raise BadModelFile(f"architecture {name}: interpolation is {filtered!r}")
    mean, std = _channels(said.get("mean"), MEAN), _channels(said.get("std"), STD)
    if mean is None or std is None or min(std) <= 0:
        raise BadModelFile(f"architecture {name}: mean and std of {_PICTURES} must be one number or three")
    return Pictures(mean, std, _RESIZE_MODES[mode], filtered == "bilinear")


def _channels(said: Any, usual: tuple[float, float, float]) -> tuple[float, float, float] | None:
    """A figure of each channel; None where it is none."""
    if said is None:
        return usual
    values = list(said) if isinstance(said, Sequence) and not isinstance(said, str) else [said] * 3
    if len(values) != 3 or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        return None
    return float(values[0]), float(values[1]), float(values[2])


def checked(config: Any, name: str) -> Config:
    """The configuration if it describes a model that can be built from local files alone.

    Raises:
        BadModelFile: it lacks a part.
        ModelError: its text tower or tokenizer lies on the hub.
    """
    if not isinstance(config, dict) or not set(config) >= _NEEDED:
        raise BadModelFile(f"architecture {name} lacks one of {', '.join(sorted(_NEEDED))}")
    text = config["text_cfg"]
    if not isinstance(text, dict) or not isinstance(config["vision_cfg"], dict):
        raise BadModelFile(f"architecture {name}: vision_cfg and text_cfg must be objects")
    named = not name.endswith(".json") and "siglip" in name.lower()
    if text.get("hf_model_name") or text.get("hf_tokenizer_name") or named:
        raise ModelError(
            f"architecture {name} needs a text tower or tokenizer from the hub",
            hint="use an architecture with open_clip's own text tower, such as ViT-B-32",
        )
    return config


def label(architecture: str, config: Config) -> str:
    """A short name for messages and fingerprints: the known name, or the digest of a configuration from a file."""
    if not architecture.endswith(".json"):
        return architecture
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return f"{Path(architecture).stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def build(config: Config) -> Any:
    """The network with random weights, as a ``torch.nn.Module`` in evaluation mode."""
    open_clip = _open_clip()
    fields = deepcopy(config)
    tokens = visual_prompts.take(fields)
    fields.pop(_PICTURES, None)
    custom = fields.pop("custom_text", False)
    if "timm_model_name" in fields["vision_cfg"]:
        fields["vision_cfg"]["timm_model_pretrained"] = False
    factory = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        network = factory(**fields).eval()
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise BadModelFile(f"open_clip cannot build this architecture: {error}") from error
    if tokens is not None:
        visual_prompts.install(network, **tokens)
    return network


def tokenizer(config: Config) -> Any:
    """Texts to token ids: the byte-pair encoding of CLIP, which comes with open_clip."""
    return _open_clip().SimpleTokenizer(context_length=config["text_cfg"].get("context_length", 77))


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of this architecture holds; no memory is filled."""
    import torch

    with torch.device("meta"):
        model = build(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
