"""The small caption decoder of the ``mini`` profile: a picture's vector and neighbours' words in, sentences out."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import BadModelFile
from rsrag.models.base import Vectors
from rsrag.models.dense import SHIPPED as DENSE
from rsrag.models.described import read_described
from rsrag.models.towers import ort_session
from rsrag.once import once

SHIPPED = DENSE.parent / "caption"
START, END, UNKNOWN = 0, 1, 2
"""Tokens that are no words; words follow."""
SPECIAL = 3
LONGEST = 30
"""Words in a sentence at most."""
_WORD = re.compile(r"[a-z0-9\u0080-\U0010ffff]+(?:-[a-z0-9\u0080-\U0010ffff]+)*|'s\b")


def words_of(sentence: str) -> list[str]:
    """Lower-case words, numbers and ``'s``, no punctuation: what the PTB tokeniser of the COCO scorers leaves.

    Words are of any script: letters, digits and the marks upon them, composed where they can be.
    """
    lower = sentence.lower()
    if not lower.isascii():
        composed = unicodedata.normalize("NFC", lower).replace("\u2019", "'")
        lower = "".join(c if c.isascii() or unicodedata.category(c)[0] in "LMN" else " " for c in composed)
    return _WORD.findall(lower)


@dataclass(frozen=True, slots=True)
class Draft:
    """A sentence of the decoder.

    Attributes:
        words: lower-case, without the end.
        score: mean natural logarithm of the words' probabilities, the end included.
    """

    words: tuple[str, ...]
    score: float


class Captioner:
    """Linear map of the picture's vector into soft tokens, and a recurrent language model, run by ONNX Runtime.

    ``start.onnx`` turns ``picture`` [B, 384] and ``told`` [B, 256] into ``state`` [L, B, d] and ``soft`` [B, d];
    ``step.onnx`` turns ``word`` [B], ``soft`` and ``state`` into ``odds`` [B, V] (log-probabilities) and ``next``.

    Args:
        directory: holds the two graphs, ``words.json`` and ``config.json`` as :mod:`rsrag.train.captioner` writes them.

    Raises:
        BadModelFile: a file is missing or not the one described.
    """

    def __init__(self, directory: Path = SHIPPED) -> None:
        self._directory = directory
        config = read_described(directory, ["start.onnx", "step.onnx", "words.json"], "caption decoder")
        try:
            self.words: list[str] = json.loads((directory / "words.json").read_text(encoding="utf-8"))
            self.encoder = str(config["encoder"])
            self.layers, self.width = int(config["layers"]), int(config["width"])
            self.told = int(config["told"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModelFile(f"no caption decoder in {directory}: {error}") from error
        self.fingerprint = f"mini-caption:{config['sha256']['step.onnx'][:16]}"

    @once
    def _graphs(self) -> tuple[Any, Any]:
        return ort_session(self._directory / "start.onnx"), ort_session(self._directory / "step.onnx")

    def _begin(self, picture: Vectors, told: Vectors | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        words = np.zeros(self.told, dtype=np.float32) if told is None else told
        state, soft = self._graphs[0].run(
            ["state", "soft"],
            {"picture": np.asarray(picture[None], np.float32), "told": np.asarray(words[None], np.float32)},
        )
        return state, soft

    def _step(
        self, word: Sequence[int], soft: npt.NDArray[Any], state: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        count = len(word)
        odds, state = self._graphs[1].run(
            ["odds", "next"],
            {"word": np.asarray(word, np.int64), "soft": np.repeat(soft[:1], count, axis=0), "state": state},
        )
        odds[:, [START, UNKNOWN]] = -np.inf
        return odds, state

    def beam(self, picture: Vectors, told: Vectors | None = None, *, width: int = 5) -> list[Draft]:
        """The likeliest sentences by beam search, best mean log-probability first.

        Args:
            picture: the encoder's unit vector, float32 [384].
            told: mean vector of what neighbours' captions say, float32 [256]; None without neighbours.
            width: sentences kept at every word.
        """
        state, soft = self._begin(picture, told)
        alive: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        done: list[Draft] = []
        for _ in range(LONGEST):
            odds, after = self._step([path[-1] if path else START for _, path in alive], soft, state)
            total = np.array([score for score, _ in alive])[:, None] + odds
            order = np.argsort(-total, axis=None, kind="stable")[: 2 * width]
            rows, tokens = np.unravel_index(order, total.shape)
            kept: list[tuple[float, tuple[int, ...]]] = []
            origin: list[int] = []
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
                score, path = float(total[row, token]), alive[row][1]
                if token == END:
                    done.append(Draft(tuple(self.words[t - SPECIAL] for t in path), score / (len(path) + 1)))
                elif len(kept) < width and np.isfinite(score):
                    kept.append((score, (*path, token)))
                    origin.append(row)
            if not kept or len(done) >= 2 * width:
                break
            alive, state = kept, after[:, origin]
        if not done:
            done = [Draft(tuple(self.words[t - SPECIAL] for t in p), s / max(1, len(p))) for s, p in alive]
        return sorted((d for d in done if d.words), key=lambda d: -d.score)[:width]

    def samples(
        self, picture: Vectors, told: Vectors | None = None, *, count: int = 8, temperature: float = 0.7, seed: int = 0
    ) -> list[Draft]:
        """Sentences drawn at random; equal seeds draw equal ones.

        Args:
            picture: see :meth:`beam`.
            told: see :meth:`beam`.
            count: how many.
            temperature: below 1 likely words become likelier.
            seed: of the draw.
        """
        rng = np.random.default_rng(seed)
        state, soft = self._begin(picture, told)
        state = np.repeat(state, count, axis=1)
        word, ended = np.full(count, START), np.zeros(count, dtype=bool)
        paths: list[list[str]] = [[] for _ in range(count)]
        scores, lengths = np.zeros(count), np.ones(count)
        for _ in range(LONGEST):
            odds, state = self._step(word.tolist(), soft, state)
            noise = rng.gumbel(size=odds.shape)
            word = np.argmax(odds / temperature + noise, axis=1)
            scores += np.where(ended, 0.0, odds[np.arange(count), word])
            lengths += ~ended
            ended |= word == END
            if ended.all():
                break
            for row in np.flatnonzero(~ended):
                paths[row].append(self.words[int(word[row]) - SPECIAL])
        return [Draft(tuple(p), float(s / n)) for p, s, n in zip(paths, scores, lengths, strict=True) if p]


@cache
def shipped() -> Captioner:
    """The one that ships, read once a process.

    Raises:
        BadModelFile: as when it is made.
    """
    return Captioner()
