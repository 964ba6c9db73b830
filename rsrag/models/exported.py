"""Image encoders that ``rsrag models export`` wrote: two graphs and a tokenizer, run without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.errors import BadModelFile, MissingExtra
from rsrag.models import cliptokens, reference, runtime
from rsrag.models.base import ModelRow, Picture, Vectors
from rsrag.models.batching import Feeder
from rsrag.models.described import checked_bytes, of_size, read_config
from rsrag.models.resize import resized
from rsrag.models.runtime import Candidate
from rsrag.models.towers import Batch, OpenVinoTower, OrtTower, compiled, ort_session
from rsrag.models.vectors import unit
from rsrag.once import once

IMAGE, TEXT, TOKENIZER = "image", "text", "tokenizer.json"
_TEXTS = 64
_NEEDED = ("dim", "input_size", "resize", "context_length", "format", "fingerprint", "sha256")


class ExportedEncoder:
    """An exported CLIP model: ``image`` and ``text`` graphs (ONNX or OpenVINO), ``tokenizer.json``, ``config.json``.

    In float32 its fingerprint is that of the model it was made from, whose vectors it gives; an int8 export is a model
    of its own. Either way its vectors of the drawn pictures are compared with those of the exporting machine before
    the first use on another one.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        """Find the files; they are read at first use.

        Raises:
            BadModelFile: no folder of an export.
        """
        self.name = row.name
        self.batch_size = 0
        self._directory = Path(row.source).expanduser()
        config = read_config(self._directory)
        missing = [key for key in _NEEDED if key not in config]
        if missing:
            raise BadModelFile(f"{self._directory / 'config.json'} lacks {', '.join(missing)}", hint="export it again")
        self._config = config
        self._settings = settings
        self._suffix = ".xml" if config["format"] == "openvino" else ".onnx"
        self.dim = int(config["dim"])
        self.input_size = int(config["input_size"])
        self.fingerprint = str(config["fingerprint"])

    def _file(self, name: str) -> Path:
        """A file of the export, after its digest was compared."""
        checked_bytes(self._directory, name, self._config["sha256"])
        return self._directory / name

    def _graph(self, half: str) -> Path:
        if self._suffix == ".xml":
            self._file(f"{half}.bin")
        return self._file(half + self._suffix)

    @once
    def _feeder(self) -> Feeder:
        path = self._graph(IMAGE)
        candidates = [Candidate("ort", partial(OrtTower, path))] if path.suffix == ".onnx" else []
        if self._config["format"] != "onnx-int8":  # OpenVINO is slow on ONNX Runtime's dynamic quantisation
            numbers = runtime.openvino_numbers()
            candidates += [Candidate(f"openvino-{n}", partial(OpenVinoTower, path, n)) for n in numbers]
        if not candidates:
            raise MissingExtra(f"OpenVINO, for model {self.name},", extra="openvino", package="openvino")
        kept = reference.read(checked_bytes(self._directory, reference.NAME, self._config["sha256"]))
        side = self.input_size
        tower = runtime.choose(candidates, self._settings.runtime, self._digest, side, reference=kept)
        return Feeder(tower, side)

    @property
    def _digest(self) -> str:
        """Digest of the graph: the fingerprint may be shared with other exports of the model."""
        return str(self._config["sha256"][IMAGE + self._suffix])

    def prepare(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """A picture at the input size, uint8 of shape [S, S, 3], as the model it was made from has it."""
        way, bilinear = str(self._config["resize"]), bool(self._config.get("bilinear"))
        return resized(picture, self.input_size, way, bilinear=bilinear)

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]; pictures may differ in size."""
        return self._encoded((self.prepare(picture) for picture in pictures), len(pictures))

    def encode_prepared(self, batch: Batch) -> Vectors:
        """Unit vectors of pictures that :meth:`prepare` made, uint8 of shape [N, S, S, 3]."""
        return self._encoded(batch, len(batch))

    def _encoded(self, prepared: Iterable[npt.NDArray[np.uint8]], count: int) -> Vectors:
        found = of_size(self._feeder.features(prepared, count), self.dim, self._directory)
        parts = [unit(features) for features in found]
        return np.concatenate([np.zeros((0, self.dim), dtype=np.float32), *parts])

    def encode_words(self, texts: Sequence[str]) -> Vectors:
        """Texts as queries against image vectors: float32 of shape [N, dim], unit norm; cut at the context length."""
        parts = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), _TEXTS):
            tokens = cliptokens.encode(
                self._tokenizer, texts[start : start + _TEXTS], int(self._config["context_length"])
            )
            parts.append(unit(self._text(tokens)))
        return np.concatenate(parts)

    @once
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._file(TOKENIZER)))

    @once
    def _text(self) -> Any:
        """Tokens, int64 [N, context length], to features, float32 [N, dim]."""
        path = self._graph(TEXT)
        if path.suffix == ".onnx":
            session = ort_session(path)
            name = session.get_inputs()[0].name
            return lambda tokens: session.run(None, {name: tokens})[0]
        ready = compiled(path, "f32")
        return lambda tokens: np.array(ready(tokens)[ready.output(0)])
