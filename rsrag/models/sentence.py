"""Text encoders and re-rankers run by sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from rsrag.config import Settings
from rsrag.errors import BadModelFile, MissingExtra, ModelError
from rsrag.models import weights
from rsrag.models.base import ModelRow, Vectors
from rsrag.models.checkpoints import must_have_vocabulary
from rsrag.models.devices import LOADING, choose, without_progress_bars

_BATCH = 32
# Everything else in a modules.json names code, or reads weights in other formats.
_MODULES = {"Transformer", "Pooling", "Normalize", "Dense"}
_CLASSIFIER = "AutoModelForSequenceClassification"


class _Checkpoint:
    """A sentence-transformers directory, checked before anything is loaded from it."""

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self.row = row
        self.settings = settings
        self.path = weights.locate(row, settings)
        if not self.path.is_dir():
            raise BadModelFile(f"model {row.name}: {self.path} is no directory of a sentence-transformers model")
        self._loaded: Any = None
        self._transformer = self.path
        self._check()

    def _check(self) -> None:
        where = f"model {self.row.name}: {self.path}"
        parts = []
        for module in self._modules(where):
            kind = str(module.get("type", ""))
            name = kind.rsplit(".", 1)[-1]
            if not kind.startswith("sentence_transformers.") or name not in _MODULES:
                raise BadModelFile(f"{where} names the module {kind!r}", hint=f"only {', '.join(sorted(_MODULES))}")
            part = (self.path / str(module.get("path", ""))).resolve()
            if not part.is_relative_to(self.path.resolve()):
                raise BadModelFile(f"{where} names a module outside of it: {module.get('path')}")
            if name == "Transformer":
                self._transformer = part
            if name in ("Transformer", "Dense"):
                parts.append(part)
        for part in parts or [self.path]:
            if not any(part.glob("*.safetensors")):
                raise BadModelFile(f"{where}: {part} holds no .safetensors file", hint="pickled weights are not read")

    def _modules(self, where: str) -> list[dict[str, Any]]:
        listing = self.path / "modules.json"
        if not listing.is_file():
            return []
        try:
            modules = json.loads(listing.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadModelFile(f"{where}: cannot read modules.json: {error}") from error
        if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
            raise BadModelFile(f"{where}: modules.json is not a list of modules")
        return modules

    @cached_property
    def digest(self) -> str:
        """Digest of the weights and of the settings that shape the vectors (pooling, lengths)."""
        files = [*self.path.rglob("*.safetensors"), *_configs(self.path)]
        return weights.digest(self.path, files)[:16]

    def load(self, kind: Literal["SentenceTransformer", "CrossEncoder"]) -> Any:
        """The running model."""
        with LOADING:
            if self._loaded is None:
                self._loaded = self._load(kind)
            return self._loaded

    def _load(self, kind: Literal["SentenceTransformer", "CrossEncoder"]) -> Any:
        try:
            import sentence_transformers
        except ImportError as error:
            raise MissingExtra(f"model {self.row.name}", extra="models", package=error.name) from error
        import torch

        must_have_vocabulary(f"model {self.row.name}", self._transformer)
        device, dtype = choose(self.settings)
        # Read as float32, so that torch's default stays what other threads rely on.
        common = {"use_safetensors": True, "dtype": torch.float32}
        closed = {"local_files_only": True, "trust_remote_code": False}
        try:
            with without_progress_bars():
                self._refuse_incomplete("AutoModel" if kind == "SentenceTransformer" else _CLASSIFIER, common | closed)
                factory = getattr(sentence_transformers, kind)
                return factory(str(self.path), device=str(device), model_kwargs=common, **closed).to(dtype)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise BadModelFile(f"model {self.row.name}: cannot load {self.path}: {error}") from error

    def _refuse_incomplete(self, auto_class: str, options: dict[str, Any]) -> None:
        """Raise unless the file holds every tensor: transformers fills what is missing with random numbers."""
        import transformers

        _, info = getattr(transformers, auto_class).from_pretrained(
            self._transformer,
            device_map="meta",  # names and shapes only
            output_loading_info=True,
            **options,
        )
        # The pooling layer of BERT's own task; sentence-transformers pools token states instead.
        missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
        if missing:
            raise BadModelFile(
                f"model {self.row.name}: {self._transformer} lacks {len(missing)} tensors: {', '.join(missing[:5])}",
                hint="a text encoder is no re-ranker" if auto_class == _CLASSIFIER else None,
            )


def _configs(directory: Path) -> list[Path]:
    names = ("modules.json", "config.json", "sentence_bert_config.json", "tokenizer.json", "vocab.txt")
    return [path for name in names for path in directory.rglob(name)]


class SentenceEncoder:
    """A sentence-transformers model. Options: ``question_prompt`` and ``passage_prompt`` stand before the text."""

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        """Find and check the files; weights are read at first use.

        Raises:
            ModelError: the directory is not there, holds no safetensors, or names code of its own.
        """
        self.name = row.name
        self._checkpoint = _Checkpoint(row, settings)
        self._question_prompt = row.options.get("question_prompt", "")
        self._passage_prompt = row.options.get("passage_prompt", "")

    @cached_property
    def dim(self) -> int:
        """Size of the vectors."""
        return self._checkpoint.row.dim or self._true_dim()

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights and settings, and the prompt that passages were encoded with."""
        prompt = f":{self._passage_prompt!r}" if self._passage_prompt else ""
        return f"sentence_transformers:{self._checkpoint.digest}{prompt}"

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]; a zero row for an empty text; long texts are cut by the model."""
        return self._encode(texts, self._passage_prompt)

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]."""
        return self._encode(texts, self._question_prompt)

    def _model(self) -> Any:
        return self._checkpoint.load("SentenceTransformer")

    def _true_dim(self) -> int:
        model = self._model()
        # sentence-transformers 6 renamed the method.
        getter = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        return int(getter())

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        filled = [index for index, text in enumerate(texts) if text.strip()]
        if not filled:
            return vectors
        if self.dim != self._true_dim():
            raise BadModelFile(f"model {self.name} gives {self._true_dim()} dimensions, not {self.dim}")
        encoded = (
            self._model()
            .encode(
                [texts[index] for index in filled],
                prompt=prompt or None,
                batch_size=_BATCH,
                show_progress_bar=False,
                convert_to_tensor=True,
            )
            .float()
        )
        norms = encoded.norm(dim=1, keepdim=True)
        if not (norms > 0).all():
            raise ModelError(f"model {self.name} gave a zero or undefined vector", hint="its weights may be damaged")
        vectors[filled] = (encoded / norms).cpu().numpy()
        return vectors


class CrossEncoderReranker:
    """A cross-encoder with one output, read as a probability (sigmoid)."""

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        """Find and check the files; weights are read at first use.

        Raises:
            ModelError: the directory is not there, or holds no safetensors.
        """
        self.name = row.name
        self._checkpoint = _Checkpoint(row, settings)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights and settings."""
        return f"cross_encoder:{self._checkpoint.digest}"

    def score(self, question: str, passages: Sequence[str]) -> npt.NDArray[np.float32]:
        """One score in [0, 1] a passage, float32 of shape [N]."""
        if not passages:
            return np.zeros(0, dtype=np.float32)
        model = self._checkpoint.load("CrossEncoder")
        if model.config.num_labels != 1:
            raise BadModelFile(f"model {self.name} has {model.config.num_labels} outputs; a re-ranker has one")
        import torch

        scores = model.predict(
            [(question, passage) for passage in passages],
            activation_fn=torch.nn.Sigmoid(),
            batch_size=_BATCH,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        if not scores.isfinite().all():
            raise ModelError(f"model {self.name} gave an undefined score", hint="its weights may be damaged")
        return np.asarray(scores.float().cpu().numpy(), dtype=np.float32).reshape(len(passages))
