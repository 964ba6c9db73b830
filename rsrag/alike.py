"""Words of like meaning: static vectors of single words, compared by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from rsrag.config import Settings
from rsrag.models.base import TextEncoder
from rsrag.questions import MONTHS, Question
from rsrag.words import STOPWORDS, stem, tokens

SIMILAR = 0.3
"""Cosine of two words from which they begin to count as alike."""
_VOCABULARY = 60_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A word of the question. ``exact`` ones (numbers, months, names) have no substitute; ``order`` is its position."""

    word: str
    stem: str
    exact: bool
    order: int


def wanted_words(asked: Question) -> list[Wanted]:
    """The content words of a question, each stem once."""
    named = {w for name in asked.names for w in tokens(name)}
    found: dict[str, Wanted] = {}
    for order, word in enumerate(tokens(asked.text)):
        root = stem(word)
        if root in asked.terms and word not in STOPWORDS and root not in found:
            found[root] = Wanted(word, root, word[0].isdigit() or word in MONTHS or word in named, order)
    return list(found.values())


class WordSpace:
    """Vectors of words by the mini profile's text encoder, remembered.

    Args:
        settings: handed to the encoder.
        encoder: another encoder, for tests.
    """

    def __init__(self, settings: Settings, encoder: TextEncoder | None = None) -> None:
        if encoder is None:
            from rsrag.models.registry import find, load

            encoder = load(find("mini-text"), settings)
        self._encoder: TextEncoder = encoder
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}

    @staticmethod
    @lru_cache(maxsize=1)
    def shared(settings: Settings) -> WordSpace:
        """One for everybody in the process: reading the vectors takes a tenth of a second."""
        return WordSpace(settings)

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    def presence(self, wanted: Sequence[Wanted], words: Sequence[str]) -> npt.NDArray[np.float64]:
        """How far each wanted word is among the words: 1 by its stem, else up to 0.99 by the nearest meaning.

        Args:
            wanted: words of a question.
            words: folded words of a text, stop words left out.

        Returns:
            float64 of shape [len(wanted)], (cosine - 0.3) / 0.7 clipped at 0 for words that have substitutes.
        """
        stems = {stem(w) for w in words}
        found = np.array([1.0 if w.stem in stems else 0.0 for w in wanted])
        missing = [i for i, w in enumerate(wanted) if not found[i] and not w.exact]
        if not missing or not words:
            return found
        cosines = self._of([wanted[i].word for i in missing]) @ self._of(words).T
        found[missing] = np.clip((np.minimum(cosines.max(axis=1), 0.99) - SIMILAR) / (1 - SIMILAR), 0, 1)
        return found

    def _of(self, words: Sequence[str]) -> npt.NDArray[np.float32]:
        known = self._vectors  # another thread may put a new one in its place
        new = [w for w in dict.fromkeys(words) if w not in known]
        if new:
            if len(known) + len(new) > _VOCABULARY:
                self._vectors = known = {}
                new = list(dict.fromkeys(words))
            known.update(zip(new, self._encoder.encode_questions(new), strict=True))
        return np.stack([known[w] for w in words])


def content_words(text: str) -> list[str]:
    """Folded words of a text without stop words, each once, in order."""
    return list(dict.fromkeys(w for w in tokens(text) if w not in STOPWORDS))
