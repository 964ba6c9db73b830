"""Static text vectors as model2vec distils them: a text is the mean of its tokens' vectors; numpy alone, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import BadModelFile

MAX_TOKENS = 512
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


class StaticModel:
    """Vectors of tokens and the tokenizer that finds them.

    Any number of threads may use one at the same time: the tokenizer is set up here and never changed again, because a
    change fails while another thread is within it.

    Args:
        directory: where the files lie, for messages.
        weights: bytes of ``model.safetensors``: ``embeddings``, a row a token of the vocabulary, and nothing else.
        tokenizer: bytes of ``tokenizer.json``.

    Raises:
        BadModelFile: they are no static model.
    """

    def __init__(self, directory: Path, weights: bytes, tokenizer: bytes) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        try:
            tensors = load(weights)
        except SafetensorError as error:
            raise BadModelFile(f"cannot read {directory / WEIGHTS}: {error}") from error
        try:
            self._tokenizer: Any = Tokenizer.from_str(tokenizer.decode("utf-8"))
        except Exception as error:  # the package has no class of its own
            raise BadModelFile(f"cannot read {directory / TOKENIZER}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        vocabulary = self._tokenizer.get_vocab()
        if set(tensors) != {"embeddings"} or len(tensors["embeddings"]) != len(vocabulary):
            raise BadModelFile(f"{directory / WEIGHTS} does not hold one vector for each token of {TOKENIZER}")
        self._vectors = tensors["embeddings"]
        self._unknown = self._tokenizer.token_to_id("[UNK]")
        # Longer texts are cut before they are split, which would take time for nothing.
        self._characters = MAX_TOKENS * int(np.median([len(token) for token in vocabulary]))

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Means of the vectors of known tokens, float32 of shape [N, D]; zero for a text without one."""
        found = np.zeros((len(texts), self._vectors.shape[1]), dtype=np.float32)
        cut = [text[: self._characters] for text in texts]
        for row, encoded in enumerate(self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)):
            tokens = [token for token in encoded.ids if token != self._unknown]
            if tokens:
                found[row] = self._vectors[tokens].mean(axis=0, dtype=np.float32)
        return found
