"""Image encoders of the open_clip family: GeoRSCLIP, RemoteCLIP, SkyCLIP and any other checkpoint of its layouts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, MissingExtra
from rsrag.models import architectures, weights
from rsrag.models.base import ModelRow, Picture, Vectors
from rsrag.models.devices import LOADING, choose

_log = logging.getLogger("rsrag.models")
# Mean and standard deviation of CLIP's training pictures (Radford et al. 2021); every model of the registry uses them.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_IMAGES = 32
_TEXTS = 256


class OpenClipEncoder:
    """A CLIP model by architecture and weights file.

    Options of the row: ``architecture`` (open_clip name or JSON file; not needed for weights written by
    ``rsrag models convert``), ``file`` (the .safetensors file when the source is a directory with several),
    ``resize``: "crop" (default: shorter side to the input size, then the centre, as these models were trained and
    evaluated) or "squash" (the whole picture, its proportions lost).

    Weights that were fine-tuned from OpenAI's need QuickGELU: the architecture must then be a "-quickgelu" one. The
    keys are the same either way, so nothing but the row can tell.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        """Find the files; weights are read at first use.

        Raises:
            ModelError: the weights are not there, or not safetensors.
            ConfigError: a wrong option.
        """
        self.name = row.name
        self._row = row
        self._settings = settings
        self._resize = row.options.get("resize", "crop")
        if self._resize not in ("crop", "squash"):
            raise ConfigError(f"model {row.name}: resize is {self._resize!r}", hint="crop or squash")
        self._file = weights.one_weights_file(weights.locate(row, settings), row.options.get("file"))
        self._loaded: tuple[Any, Any, Any, Any] | None = None

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        """Configuration of the architecture, with its label under "label"."""
        note = weights.read_side_car(self._file)
        stated = self._row.options.get("architecture")
        if stated is None:
            if note is None:
                raise BadModelFile(
                    f"model {self.name}: nothing says which architecture {self._file} has",
                    hint="set the option 'architecture'",
                )
            return {**architectures.checked(note["config"], self.name), "label": str(note["architecture"])}
        config = architectures.read_config(stated)
        if note is not None and note["config"] != config:
            raise BadModelFile(
                f"model {self.name}: {self._file} was converted for {note['architecture']}, not for {stated}",
                hint="convert it again with the right architecture",
            )
        return {**config, "label": architectures.label(stated, config)}

    @cached_property
    def dim(self) -> int:
        """Size of the vectors."""
        return self._row.dim or int(self._config["embed_dim"])

    @cached_property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        size = self._row.input_size or self._config["vision_cfg"]["image_size"]
        return int(size if isinstance(size, int) else size[0])

    @cached_property
    def fingerprint(self) -> str:
        """Architecture, preprocessing and digest of the weights: equal fingerprints give comparable vectors."""
        label = self._config["label"]
        return f"open_clip:{label}:{self._resize}{self.input_size}:{weights.file_digest(self._file)[:16]}"

    def _ready(self) -> tuple[Any, Any, Any, Any]:
        """Network, tokenizer, device and number format."""
        with LOADING:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> tuple[Any, Any, Any, Any]:
        try:
            import torch  # noqa: F401
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError as error:
            raise MissingExtra(f"model {self.name}", extra="models", package=error.name) from error
        config = {key: value for key, value in self._config.items() if key != "label"}
        network = architectures.build(config)
        try:
            tensors = load_file(self._file)
        except (SafetensorError, OSError) as error:
            raise BadModelFile(f"model {self.name}: cannot read {self._file}: {error}") from error
        wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        report = weights.compare({key: tuple(tensor.shape) for key, tensor in tensors.items()}, wanted)
        if not report.fits:
            label = self._config["label"]
            raise BadModelFile(f"model {self.name}: {self._file} does not fit {label}: {report}")
        network.load_state_dict({key: t for key, t in tensors.items() if key not in report.ignored}, strict=False)
        if self.dim != config["embed_dim"]:
            raise BadModelFile(f"model {self.name} gives {config['embed_dim']} dimensions, not {self.dim}")
        device, dtype = choose(self._settings)
        _log.info("model %s: %s on %s in %s", self.name, report, device, dtype)
        return network.to(device=device, dtype=dtype), architectures.tokenizer(config), device, dtype

    def prepare(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """A picture at the input size, uint8 of shape [S, S, 3], bicubic with antialiasing."""
        from PIL import Image

        size = self.input_size
        image = Image.fromarray(np.ascontiguousarray(picture))
        width, height = image.size
        if self._resize == "crop":
            short = min(width, height)
            target = (size * width // short, size * height // short)
        else:
            target = (size, size)
        if image.size != target:
            image = image.resize(target, Image.Resampling.BICUBIC)
        left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
        return np.asarray(image.crop((left, top, left + size, top + size)))

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]; pictures may differ in size."""
        network, _, device, dtype = self._ready()
        import torch

        mean = torch.tensor(_MEAN, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        std = torch.tensor(_STD, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        parts: list[Vectors] = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(pictures), _IMAGES):
            batch = np.stack([self.prepare(p) for p in pictures[start : start + _IMAGES]])
            with torch.inference_mode():
                pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / 255.0
                features = network.encode_image(((pixels - mean) / std).to(dtype))
            parts.append(_unit(features))
        return np.concatenate(parts)

    def encode_words(self, texts: Sequence[str]) -> Vectors:
        """Texts as queries against image vectors: float32 of shape [N, dim], unit norm; cut at 77 tokens."""
        network, tokenize, device, _ = self._ready()
        import torch

        parts: list[Vectors] = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), _TEXTS):
            with torch.inference_mode():
                features = network.encode_text(tokenize(list(texts[start : start + _TEXTS])).to(device))
            parts.append(_unit(features))
        return np.concatenate(parts)


def _unit(features: Any) -> Vectors:
    import torch

    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    return np.asarray(unit.cpu().numpy(), dtype=np.float32)
