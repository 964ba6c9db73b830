"""Image encoders of the open_clip family: GeoRSCLIP, RemoteCLIP, SkyCLIP and any other checkpoint of its layouts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, MissingExtra, ModelError
from rsrag.models import architectures, runtime, weights
from rsrag.models.base import ModelRow, Picture, Vectors
from rsrag.models.batching import Feeder
from rsrag.models.devices import LOADING, choose
from rsrag.models.resize import WAYS, resized
from rsrag.models.runtime import Candidate
from rsrag.models.towers import Batch, OpenVinoTower, TorchTower, from_torch, image_half

_log = logging.getLogger("rsrag.models")
_TEXTS = 256


class OpenClipEncoder:
    """A CLIP model by architecture and weights file.

    Options of the row: ``architecture`` (open_clip name or JSON file; not needed for weights written by
    ``rsrag models convert``, or beside an ``open_clip_config.json``), ``file`` (the .safetensors file when the source
    is a directory with several), ``resize``: "crop" (shorter side to the input size, then the centre, as these models
    were trained and evaluated; the default unless the JSON file says otherwise) or "squash" (the whole picture, its
    proportions lost). Mean, standard deviation and interpolation are those of the JSON file, or else CLIP's.

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
        self.licence = row.licence
        self._row = row
        self._settings = settings
        if (way := row.options.get("resize", "crop")) not in WAYS:
            raise ConfigError(f"model {row.name}: resize is {way!r}", hint=" or ".join(WAYS))
        self._file = weights.one_weights_file(weights.locate(row, settings), row.options.get("file"))
        self._feeder: Feeder | None = None
        self._texts: tuple[Any, Any] | None = None

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        """Configuration of the architecture, with its label under "label"."""
        note = weights.read_side_car(self._file)
        stated = self._row.options.get("architecture")
        beside = self._file.with_name(architectures.BESIDE)
        if stated is None and note is None and beside.is_file():
            stated = str(beside)
        if stated is None:
            if note is None:
                raise BadModelFile(
                    f"model {self.name}: nothing says which architecture {self._file} has",
                    hint=f"put its {beside.name} beside it, or set the option 'architecture' of the model in a profile",
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
    def pictures(self) -> architectures.Pictures:
        """How the model wants its pictures."""
        own = architectures.pictures(self._config, self.name)
        return replace(own, way=self._row.options.get("resize", own.way))

    @cached_property
    def dim(self) -> int:
        """Size of the vectors."""
        return self._row.dim or int(self._config["embed_dim"])

    @cached_property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self._row.input_size or self._own_size

    @property
    def _own_size(self) -> int:
        """The side that the architecture was made for; open_clip's default where it does not say."""
        size = self._config["vision_cfg"].get("image_size", 224)
        return int(size if isinstance(size, int) else size[0])

    @cached_property
    def fingerprint(self) -> str:
        """Architecture, preprocessing and digest of the weights: equal fingerprints give comparable vectors."""
        label = self._config["label"]
        return f"open_clip:{label}:{self.pictures.way}{self.input_size}:{weights.file_digest(self._file)[:16]}"

    @property
    def batch_size(self) -> int:
        """Pictures that a GPU likes to get at once; 0 on a processor, which does not care."""
        feeder = self._ready()
        return 0 if feeder.tower.device == "cpu" else feeder.batch_size

    def _ready(self) -> Feeder:
        """The image half in the runtime that suits this machine."""
        with LOADING:
            if self._feeder is None:
                import_torch(self.name)
                side, device = self.input_size, choose(self._settings)[0]
                model = f"{self.fingerprint}@{device}"
                tower = runtime.choose(self._candidates(), self._settings.runtime, model, side)
                self._feeder = Feeder(tower, side)
            return self._feeder

    def _candidates(self) -> list[Candidate]:
        """The ways to run the image half here, float32 in torch first."""
        import torch

        device, dtype = choose(self._settings)
        formats = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
        numbers = ["f32", *(name for name, kind in formats.items() if kind == dtype and name != "f32")]
        found = [Candidate(f"torch-{n}", partial(self._in_torch, device, n, formats[n])) for n in numbers]
        if device.type == "cpu":
            found += [Candidate(f"openvino-{n}", partial(self._in_openvino, n)) for n in runtime.openvino_numbers()]
        return found

    def _in_torch(self, device: Any, number: str, dtype: Any) -> TorchTower:
        visual = self.network().visual.to(device=device, dtype=dtype)
        return TorchTower(image_half(visual, self.pictures.mean, self.pictures.std, dtype), device, number)

    def _in_openvino(self, number: str) -> OpenVinoTower:
        import torch

        mean, std, side = self.pictures.mean, self.pictures.std, self.input_size
        half = image_half(self.network().visual, mean, std, torch.float32)
        return OpenVinoTower(from_torch(half, torch.zeros((2, side, side, 3), dtype=torch.uint8)), number)

    def network(self) -> Any:
        """The network with its weights, float32 on the CPU; read anew at every call.

        Raises:
            MissingExtra: torch or open_clip is not installed.
            BadModelFile: the file is damaged or does not fit the architecture.
        """
        import_torch(self.name)
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        config = self.config
        network = architectures.build(config)
        try:
            tensors = load_file(self._file)
        except (SafetensorError, OSError) as error:
            raise BadModelFile(f"model {self.name}: cannot read {self._file}: {error}") from error
        wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        report = weights.compare({key: tuple(tensor.shape) for key, tensor in tensors.items()}, wanted)
        if not report.fits:
            label = self._config["label"]
            hint = weights.other_layout(tensors)
            raise BadModelFile(f"model {self.name}: {self._file} does not fit {label}: {report}", hint=hint)
        network.load_state_dict({key: t for key, t in tensors.items() if key not in report.ignored}, strict=False)
        if self.dim != config["embed_dim"]:
            raise BadModelFile(f"model {self.name} gives {config['embed_dim']} dimensions, not {self.dim}")
        if self.input_size != self._own_size and "timm_model_name" not in config["vision_cfg"]:
            raise BadModelFile(f"model {self.name} takes pictures of {self._own_size} pixels, not {self.input_size}")
        _log.info("model %s: %s", self.name, report)
        return network.float()

    @property
    def config(self) -> dict[str, Any]:
        """The architecture, as open_clip writes it."""
        return {key: value for key, value in self._config.items() if key != "label"}

    def prepare(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """A picture at the input size, uint8 of shape [S, S, 3], with antialiasing."""
        return resized(picture, self.input_size, self.pictures.way, bilinear=self.pictures.bilinear)

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]; pictures may differ in size."""
        return self._encoded((self.prepare(picture) for picture in pictures), len(pictures))

    def encode_prepared(self, batch: Batch) -> Vectors:
        """Unit vectors of pictures that :meth:`prepare` made, uint8 of shape [N, S, S, 3]."""
        return self._encoded(batch, len(batch))

    def _encoded(self, prepared: Iterable[npt.NDArray[np.uint8]], count: int) -> Vectors:
        empty = np.zeros((0, self.dim), dtype=np.float32)
        return self._defined(np.concatenate([empty, *self._ready().features(prepared, count)]))

    def _defined(self, vectors: Vectors) -> Vectors:
        if not np.isfinite(vectors).all():
            raise ModelError(f"model {self.name} gave an undefined vector", hint="its weights may be damaged")
        return vectors

    def encode_words(self, texts: Sequence[str]) -> Vectors:
        """Texts as queries against image vectors: float32 of shape [N, dim], unit norm; cut at 77 tokens."""
        network, tokenize = self._text_half()
        import torch

        device = next(network.parameters()).device
        parts: list[Vectors] = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), _TEXTS):
            with torch.inference_mode():
                features = network.encode_text(tokenize(list(texts[start : start + _TEXTS])).to(device))
            parts.append(_unit(features))
        return self._defined(np.concatenate(parts))

    def _text_half(self) -> tuple[Any, Any]:
        """Network without its image half, and tokenizer; in float32 where that is pinned for pictures."""
        with LOADING:
            if self._texts is None:
                network, (device, dtype) = self.network(), choose(self._settings)
                network.visual = None
                kept = network.float() if self._settings.runtime == "torch-f32" else network.to(dtype=dtype)
                self._texts = kept.to(device=device), architectures.tokenizer(self.config)
            return self._texts


def import_torch(model: str) -> None:
    """Raise MissingExtra where a model cannot run for want of torch or open_clip."""
    for package in ("torch", "open_clip"):
        try:
            import_module(package)
        except ImportError as error:
            raise MissingExtra(f"model {model}", extra="models", package=error.name) from error


def _unit(features: Any) -> Vectors:
    import torch

    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    return np.asarray(unit.cpu().numpy(), dtype=np.float32)
