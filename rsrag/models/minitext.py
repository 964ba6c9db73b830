"""The small sentence transformer that ships with the package: int8 weights run by ONNX Runtime, no torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.models.base import ModelRow, Vectors
from rsrag.models.described import checked_bytes, directory_of, read_config
from rsrag.models.vectors import unit

MAX_TOKENS = 256
WORDS = "words.safetensors"
_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_WORD, _PIECE = 1, 2
_PIECE_SHARE = 0.5
"""What the pieces of a word that the vocabulary lacks count beside the word itself."""
_RARE = 0.8
"""Least weight of such a word: it is rare, however common its pieces are."""


def mix64(value: int) -> int:
    """One step of SplitMix64 (Steele, Lea and Flood 2014), all in integers below 2**64."""
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def key_of(pieces: Sequence[int], salt: int) -> int:
    """A number below 2**64 for a sequence of token ids, in their order."""
    key = salt
    for piece in pieces:
        key = mix64(key ^ (piece + 1))
    return key


def signs_of(keys: Sequence[int], dim: int) -> npt.NDArray[np.int8]:
    """Pseudo-random signs that the keys stand for: int8 of shape [N, dim], each -1 or 1; ``dim`` a multiple of 64.

    Bit ``i`` of the ``j``-th SplitMix64 number after the key, counted from the lowest, gives sign ``64 j + i``.
    """
    start = np.array(keys, dtype=np.uint64)[:, None]
    steps = np.array([(_STEP * (j + 1)) & _MASK for j in range(dim // 64)], dtype=np.uint64)
    value = start + steps  # arrays of unsigned numbers wrap around
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value = value ^ (value >> np.uint64(31))
    bits = np.unpackbits(value.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


class WordTable(NamedTuple):
    """What the lexical half knows of each token.

    Attributes:
        weights: how rare a token is, 0 (says nothing) to 1, float64 of shape [V].
        stems: the token that a token counts as ("castles" as "castle"), int64 of shape [V].
        endings: tokens that a word may lose at its end ("##s").
        pieces: whether a token continues a word, bool of shape [V].
    """

    weights: npt.NDArray[np.float64]
    stems: npt.NDArray[np.int64]
    endings: frozenset[int]
    pieces: npt.NDArray[np.bool_]

    def units(self, words: Sequence[Sequence[int]]) -> dict[int, float]:
        """Key and weight of each distinct word of a text, and of the pieces of words that the vocabulary lacks.

        A word counts ``weight · (1 + ln n)`` when it occurs ``n`` times.
        """
        counts: Counter[int] = Counter()
        weights: dict[int, float] = {}
        for word in words:
            known = len(word) == 1
            rarest = max(float(self.weights[piece]) for piece in word)
            weight = rarest if known else max(_RARE, rarest)
            if weight <= 0:
                continue
            stem = word[:-1] if len(word) > 1 and word[-1] in self.endings else word
            stem = [int(self.stems[stem[0]])] if len(stem) == 1 else stem
            key = key_of(stem, _WORD)
            counts[key] += 1
            weights[key] = weight
            for piece in stem if len(stem) > 1 else ():
                key = key_of([piece], _PIECE if self.pieces[piece] else _WORD)
                counts[key] += 1
                weights[key] = _PIECE_SHARE * float(self.weights[piece])
        return {key: weights[key] * (1.0 + float(np.log(n))) for key, n in counts.items() if weights[key] > 0}

    def vector(self, words: Sequence[Sequence[int]], dim: int) -> npt.NDArray[np.float32]:
        """The words of a text whatever their order: unit length, float32 of shape [dim]; zero if none says anything."""
        units = sorted(self.units(words).items())  # the order of summation must not depend on the text's
        if not units:
            return np.zeros(dim, dtype=np.float32)
        signs = signs_of([key for key, _ in units], dim)
        summed = np.array([weight for _, weight in units]) @ signs
        return np.asarray(unit(summed[None])[0], dtype=np.float32)


def words_of(encoded: Any) -> list[list[int]]:
    """Token ids of each word of a text that ``tokenizers`` encoded, without the special tokens."""
    words: list[list[int]] = []
    last = None
    for token, word in zip(encoded.ids, encoded.word_ids, strict=True):
        if word is None:
            continue
        if word != last:
            words.append([])
            last = word
        words[-1].append(token)
    return words


@cache
def _runtime(directory: Path) -> tuple[Any, Any]:
    """Tokenizer and ONNX session of a directory, read once a process."""
    import onnxruntime

    digests = read_config(directory).get("sha256", {})
    tokenizer = _tokenizer(directory)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = checked_bytes(directory, "encoder.onnx", digests)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has no base class of its own
        raise BadModelFile(f"ONNX Runtime cannot run {directory / 'encoder.onnx'}: {error}") from error
    return tokenizer, session


@cache
def _tokenizer(directory: Path) -> Any:
    from tokenizers import Tokenizer

    data = checked_bytes(directory, "tokenizer.json", read_config(directory).get("sha256", {}))
    tokenizer = Tokenizer.from_str(data.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


@cache
def _words(directory: Path) -> WordTable:
    """The word table of a directory, read once a process."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(checked_bytes(directory, WORDS, read_config(directory).get("sha256", {})))
        weights, stems, endings = tensors["weights"], tensors["stems"], tensors["endings"]
    except (SafetensorError, KeyError) as error:
        raise BadModelFile(f"{directory / WORDS} is no word table: {error}") from error
    vocabulary: Mapping[str, int] = _tokenizer(directory).get_vocab()
    if not len(weights) == len(stems) == len(vocabulary):
        raise BadModelFile(f"{directory / WORDS} has {len(weights)} tokens, the tokenizer {len(vocabulary)}")
    pieces = np.zeros(len(weights), dtype=np.bool_)
    pieces[[number for token, number in vocabulary.items() if token.startswith("##")]] = True
    return WordTable(weights / 255.0, stems.astype(np.int64), frozenset(map(int, endings)), pieces)


class MiniSentenceEncoder:
    """A three-layer transformer distilled from all-MiniLM-L6-v2, and beside it the text's words themselves.

    A vector is ``concat(√b · sentence, √(1-b) · words)``, so that the cosine of two texts is
    ``b·cos(sentence) + (1-b)·cos(words)``. ``sentence`` is the mean of the transformer's token states; ``words`` sums
    pseudo-random signs of the distinct words, weighted by how rare they are. Texts are cut after 256 tokens. A text
    without a token (empty, or white space) gives the zero vector; of one whose words say nothing ("the"), the sentence
    half is all.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        self._directory = directory_of(row)
        config = read_config(self._directory)
        self.name = row.name
        self.dim = int(config.get("dim", row.dim))
        words: Mapping[str, Any] = config.get("words", {})
        self._words = int(words.get("dim", 0))
        self._share = float(words.get("sentence_share", 1.0))
        if self._words % 64 or not 0 <= self._words < self.dim or not 0 < self._share <= 1:
            raise BadModelFile(f"model {row.name}: {self._directory / 'config.json'} describes no words half: {words}")
        digests: Mapping[str, str] = config.get("sha256", {})
        self.fingerprint = f"{row.name}:{digests.get('encoder.onnx', '')[:16]}"
        if self._words:
            self.fingerprint += f":{digests.get(WORDS, '')[:16]}:w{self._words}:b{self._share:g}"

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim].

        One text a call: the range of int8 activations is taken over a whole batch, so that in a batch a text's vector
        would depend on its neighbours (cosines down to .994), and padding would cost what batching saves.

        Raises:
            BadModelFile: the weights are missing or not the ones their config describes.
        """
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        if not texts:
            return vectors
        tokenizer, session = _runtime(self._directory)
        cut = self.dim - self._words
        for number, encoded in enumerate(tokenizer.encode_batch(list(texts))):
            if len(encoded.ids) > 2:  # more than [CLS] and [SEP]
                (found,) = session.run(["vectors"], {"ids": np.array([encoded.ids], dtype=np.int64)})
                vectors[number, :cut] = np.sqrt(self._share) * unit(found)[0]
                if self._words:
                    words = _words(self._directory).vector(words_of(encoded), self._words)
                    vectors[number, cut:] = np.sqrt(1 - self._share) * words
        return unit(vectors)

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """The same as for passages: the model knows no roles."""
        return self.encode_passages(texts)
