"""One sentence from two sources: drafts of the decoder and captions of neighbours vote, the consensus speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsrag.adapters.caption.consensus import choose, document_frequency, grams
from rsrag.adapters.caption.examples import Examples
from rsrag.models.base import TextEncoder, Vectors
from rsrag.models.captioner import Captioner, Draft, words_of

NEIGHBOURS = 8
"""Pictures whose captions vote."""
TELLING = 5
"""Pictures whose captions the decoder is told of, the number it was trained with."""
SHARPNESS = 0.03
"""Cosine difference over which a neighbour's vote falls to 1/e."""
DECODER = 0.5
"""Votes of all drafts together, relative to those of all neighbours."""
_MOST = 25
"""Different sentences of neighbours that vote, those with most votes."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A chosen sentence.

    Attributes:
        words: lower-case.
        score: weighted mean CIDEr-D to the voters, 0 to 10; 0 where only one sentence stood for choice.
        said_by: rows of examples that have a caption of exactly these words.
        near: rows and cosines of the neighbours that voted.
    """

    words: tuple[str, ...]
    score: float
    said_by: tuple[int, ...] = ()
    near: tuple[tuple[int, float], ...] = ()


class Fuser:
    """Chooses sentences; holds what is the same for every picture.

    Args:
        captioner: the decoder, or None for neighbours alone.
        examples: captioned pictures, or None for the decoder alone.
        text: encoder of captions for the decoder; not needed without either.
    """

    def __init__(self, captioner: Captioner | None, examples: Examples | None, text: TextEncoder | None = None) -> None:
        self._captioner, self._examples, self._text = captioner, examples, text
        self._frequency: Counter[tuple[str, ...]] = Counter()
        self._documents = 2
        if examples is not None:
            documents = [[grams(words_of(caption)) for caption in captions] for captions in examples.captions]
            self._frequency, self._documents = document_frequency(documents), len(documents)

    def drafts(self, vector: Vectors, near: Sequence[tuple[int, float]] = (), *, seed: int = 0) -> list[Draft]:
        """Sentences of the decoder for a picture, told of its neighbours where there are any."""
        if self._captioner is None:
            return []
        told = None
        if self._examples is not None and self._text is not None and near:
            # What the decoder was trained with: the mean over pictures of the mean over their captions.
            said = [[" ".join(words_of(c)) for c in self._examples.captions[row]] for row, _ in near[:TELLING]]
            told = np.mean([self._text.encode_passages(sentences).mean(axis=0) for sentences in said], axis=0)
        found = self._captioner.beam(vector, told)
        found += self._captioner.samples(vector, told, seed=seed)
        return found

    def sentence(self, vector: Vectors, *, seed: int = 0, leave_out: int | None = None) -> Fused:
        """The sentence for a picture's vector, float32 [dim] of unit length; no words when nothing was drafted.

        Args:
            vector: of the picture.
            seed: of the drafts drawn at random.
            leave_out: row of the examples that does not count (the picture itself).
        """
        near: list[tuple[int, float]] = []
        votes: Counter[tuple[str, ...]] = Counter()
        if self._examples is not None:
            near = [p for p in self._examples.nearest(vector, NEIGHBOURS + 1) if p[0] != leave_out][:NEIGHBOURS]
            for row, cosine in near:
                for caption in self._examples.captions[row]:
                    votes[tuple(words_of(caption))] += np.exp((cosine - near[0][1]) / SHARPNESS)
            votes = Counter(dict(votes.most_common(_MOST)))
        drafts = self.drafts(vector, near, seed=seed)
        if drafts:
            odds = np.exp(np.array([d.score for d in drafts]) - max(d.score for d in drafts))
            total = (DECODER * sum(votes.values()) if votes else 1.0) / odds.sum()
            for draft, weight in zip(drafts, odds, strict=True):
                votes[draft.words] += float(weight) * total
        if not votes:
            return Fused((), 0.0)
        if self._examples is None:
            # Without documents every n-gram counts the same.
            self._documents = 3
        sentences = list(votes)
        best, score = choose(sentences, sentences, [votes[s] for s in sentences], self._frequency, self._documents)[0]
        words = sentences[best]
        said = [
            row
            for row, _ in near
            if self._examples and words in {tuple(words_of(c)) for c in self._examples.captions[row]}
        ]
        return Fused(words, score if len(sentences) > 1 else 0.0, tuple(said), tuple(near))
