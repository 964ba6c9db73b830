"""BM25 terms and weights of texts, the same for either engine.

The engines keep the sparse vectors and apply the inverse document frequency ln(1 + (N - n + ½) / (n + ½)) at query time
(Robertson and Zaragoza 2009, eq. 3.15 with k1 = 1.2, b = 0.75).
"""

from __future__ import annotations

from typing import NamedTuple

import qdrant_edge


class Terms(NamedTuple):
    """A sparse vector: hashes of the stemmed terms and their weights, both of the same length; empty for no terms."""

    indices: list[int]
    values: list[float]


class Bm25:
    """English stop words and stemming, accents folded; other languages and numbers are matched word by word.

    Args:
        average_words: average length of the documents; longer ones weigh their terms less.
    """

    def __init__(self, average_words: float) -> None:
        config = qdrant_edge.Bm25Config(avg_len=average_words, language="english", ascii_folding=True)
        self._model = qdrant_edge.Bm25(config)

    def document(self, text: str) -> Terms:
        """Terms with their saturated, length-normalised frequencies."""
        vector = self._model.embed_document(text)
        return Terms(list(vector.indices), list(vector.values))

    def query(self, text: str) -> Terms:
        """Each term once, with weight 1."""
        vector = self._model.embed_query(text)
        return Terms(list(vector.indices), list(vector.values))
