"""The small sentence transformer that ships with the package: int8 weights run by ONNX Runtime, no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.models.base import ModelRow, Vectors
from rsrag.models.mini import _checked_bytes, _directory, _read_config, _unit

MAX_TOKENS = 256


@cache
def _runtime(directory: Path) -> tuple[Any, Any]:
    """Tokenizer and ONNX session of a directory, read once a process."""
    import onnxruntime
    from tokenizers import Tokenizer

    digests = _read_config(directory).get("sha256", {})
    tokenizer = Tokenizer.from_str(_checked_bytes(directory, "tokenizer.json", digests).decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = _checked_bytes(directory, "encoder.onnx", digests)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no base class of its own
        raise BadModelFile(f"ONNX Runtime cannot run {directory / 'encoder.onnx'}: {error}") from error
    return tokenizer, session


class MiniSentenceEncoder:
    """A three-layer transformer distilled from all-MiniLM-L6-v2: mean of its token states, 384-d, unit norm.

    Texts are cut after 256 tokens. A text without a token (empty, or white space) gives the zero vector.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self._directory = _directory(row)
        config = _read_config(self._directory)
        self.name = row.name
        self.dim = int(config.get("dim", row.dim))
        digests: Mapping[str, str] = config.get("sha256", {})
        self.fingerprint = f"{row.name}:{digests.get('encoder.onnx', '')[:16]}"

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, 384].

        One text a call: the range of int8 activations is taken over a whole batch, so that in a batch a text's vector
        would depend on its neighbours (cosines down to .994), and padding would cost what batching saves.

        Raises:
            BadModelFile: the weights are missing or not the ones their config describes.
        """
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        if not texts:
            return vectors
        tokenizer, session = _runtime(self._directory)
        for number, encoded in enumerate(tokenizer.encode_batch(list(texts))):
            if len(encoded.ids) > 2:  # more than [CLS] and [SEP]
                (found,) = session.run(["vectors"], {"ids": np.array([encoded.ids], dtype=np.int64)})
                vectors[number] = _unit(found)[0]
        return vectors

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """The same as for passages: the model knows no roles."""
        return self.encode_passages(texts)
