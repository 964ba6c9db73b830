"""The small encoders that ship with the package: static text vectors and an ONNX image tower, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.errors import BadModelFile, MissingExtra
from rsrag.models import reference, runtime
from rsrag.models.base import ModelRow, Picture, Vectors
from rsrag.models.batching import Feeder
from rsrag.models.described import PARTED_FROM, checked_bytes, directory_of, of_size, read_config
from rsrag.models.runtime import Candidate
from rsrag.models.static import TOKENIZER, WEIGHTS, StaticModel
from rsrag.models.towers import Batch, OpenVinoTower, OrtTower, planes
from rsrag.models.vectors import unit
from rsrag.once import once

_OUTPUTS = ("semantic", "instance")
HEAD, WORDS_HEAD = "text_head.safetensors", "words_head.safetensors"
"""The head that the towers were trained against, and one fitted to the finished tower afterwards (not every model has
it): see :mod:`rsrag.train.refit`."""


@cache
def _static_model(directory: Path) -> StaticModel:
    """The text model of a directory, read once a process: the text encoder and the image tower share it."""
    digests = read_config(directory).get("sha256", {})
    weights, tokenizer = (checked_bytes(directory, name, digests) for name in (WEIGHTS, TOKENIZER))
    return StaticModel(directory, weights, tokenizer)


class MiniTextEncoder:
    """Mean of static token vectors distilled from a sentence transformer (model2vec), 256-d, unit norm."""

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self._directory = directory_of(row)
        self._config = read_config(self._directory)
        self.name = row.name
        self.dim = row.dim
        digests: Mapping[str, str] = self._config.get("sha256", {})
        self.fingerprint = f"{row.name}:{digests.get('model.safetensors', '')[:16]}"

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, 256]; the zero vector for a text without a known token."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return unit(_static_model(self._directory).encode(texts))

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """The same as for passages: static vectors know no roles."""
        return self.encode_passages(texts)


class MiniImageEncoder:
    """A small tower with a semantic and an instance head, run by ONNX Runtime.

    A picture's vector is ``concat(√a · semantic, √(1-a) · instance)``, so that the cosine of two pictures is
    ``a·cos(semantic) + (1-a)·cos(instance)``; words live in the semantic part alone.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self.directory = directory_of(row)
        self.config = read_config(self.directory)
        self.name = row.name
        self.licence = row.licence
        self.batch_size = 0
        try:
            self.dim = int(self.config["dim"])
            self.input_size = int(self.config["input_size"])
            self._semantic = int(self.config["semantic_dim"])
            self._alpha = float(self.config["alpha"])
        except (KeyError, TypeError, ValueError) as error:
            where = self.directory / "config.json"
            raise BadModelFile(f"{where} describes no image tower: {type(error).__name__}: {error}") from error
        if not 0 < self._semantic <= self.dim or not 0 <= self._alpha <= 1:
            where = self.directory / "config.json"
            told = f"dim {self.dim}, semantic_dim {self._semantic}, alpha {self._alpha:g}"
            raise BadModelFile(f"{where} describes no image tower: {told}")
        self._graph = str(self.config.get("graph", "encoder.onnx"))
        digests: Mapping[str, str] = self.config.get("sha256", {})
        digest = str(self.config.get(PARTED_FROM) or digests.get(self._graph, ""))
        own = f"{row.name}:{digest[:16]}:a{self._alpha:g}"
        # An export in float32 names the model that it was made from: their vectors are the same.
        self.fingerprint = str(self.config.get("fingerprint", own))
        self._settings = settings
        self._text = MiniTextEncoder(ModelRow("mini-text", "text", "mini_text", "weights/mini/text", dim=256), settings)

    @once
    def _feeder(self) -> Feeder:
        """The tower, in ONNX Runtime unless the setting ``runtime`` says otherwise.

        Nothing is measured for "auto": the tower is so small that an ingest waits for other things, and every
        installation gives the same vectors.
        """
        digests: Mapping[str, str] = self.config.get("sha256", {})
        names = {self._graph, *digests} - {HEAD, WORDS_HEAD}
        files = {name: checked_bytes(self.directory, name, digests) for name in names}
        path = self.directory / self._graph
        candidates = [
            Candidate(f"openvino-{n}", partial(OpenVinoTower, path, n, _OUTPUTS, of_planes=True))
            for n in runtime.openvino_numbers()
        ]
        if path.suffix == ".onnx":
            candidates.insert(0, Candidate("ort", partial(OrtTower, files[self._graph], _OUTPUTS, planes)))
        elif not candidates:
            raise MissingExtra(f"OpenVINO, for model {self.name},", extra="openvino", package="openvino")
        wanted, side = self._settings.runtime, self.input_size
        kept = reference.read(files.get(reference.NAME))
        chosen = candidates[:1] if wanted == "auto" else candidates
        model = f"{self.fingerprint}:{digests.get(self._graph)}"
        return Feeder(runtime.choose(chosen, wanted, model, side, reference=kept), side)

    @once
    def _head(self) -> Mapping[str, npt.NDArray[np.float32]]:
        return self._read_head(HEAD)

    @once
    def _words_head(self) -> Mapping[str, npt.NDArray[np.float32]]:
        return self._read_head(WORDS_HEAD) if WORDS_HEAD in self.config.get("sha256", {}) else self._head

    def _read_head(self, name: str) -> Mapping[str, npt.NDArray[np.float32]]:
        from safetensors.numpy import load

        head: Mapping[str, npt.NDArray[np.float32]] = load(
            checked_bytes(self.directory, name, self.config.get("sha256", {}))
        )
        return head

    def prepare(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """A picture squeezed to the input size: uint8 of shape [S, S, 3]."""
        import cv2

        size = self.input_size
        if picture.shape[:2] == (size, size):
            return picture
        smaller = max(picture.shape[:2]) > size
        resized = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return np.asarray(resized, dtype=np.uint8)

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors, float32 of shape [N, 384]."""
        return self._encoded((self.prepare(picture) for picture in pictures), len(pictures))

    def encode_prepared(self, batch: Batch) -> Vectors:
        """Unit vectors of pictures that :meth:`prepare` made, uint8 of shape [N, S, S, 3]."""
        return self._encoded(batch, len(batch))

    def _encoded(self, prepared: Iterable[npt.NDArray[np.uint8]], count: int) -> Vectors:
        weights = np.sqrt(np.repeat([self._alpha, 1 - self._alpha], [self._semantic, self.dim - self._semantic]))
        found = of_size(self._feeder.features(prepared, count), self.dim, self.directory)
        return np.concatenate([np.zeros((0, self.dim), dtype=np.float32), *(unit(weights * f) for f in found)])

    def encode_words(self, texts: Sequence[str]) -> Vectors:
        """Texts mapped into the semantic part of the image space, the rest zero: float32 of shape [N, 384]."""
        mapped = self._mapped(texts, self._words_head)
        return np.pad(mapped, ((0, 0), (0, self.dim - self._semantic)))

    def semantic_words(self, texts: Sequence[str]) -> Vectors:
        """Texts in the space of the cells of :mod:`rsrag.models.dense`, which know the first head alone: float32 of
        shape [N, 256], unit norm."""
        return self._mapped(texts, self._head)

    def _mapped(self, texts: Sequence[str], head: Mapping[str, npt.NDArray[np.float32]]) -> Vectors:
        """A residual MLP on static vectors."""
        x = self._text.encode_questions(texts)
        hidden = np.maximum(x @ head["first.weight"].T + head["first.bias"], 0)
        return unit(x + hidden @ head["second.weight"].T + head["second.bias"])
