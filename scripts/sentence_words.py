"""The word table of `mini-sentence`: how rare each token is, and which tokens are forms of one word.

How often a token occurs in a passage is put together from its place in the vocabulary, which is in order of frequency
(Zipf's law), and from texts on scenes, changes, landmarks, places and airports. No World Heritage text is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FIRST = 1996
"""Id of "the", the first whole word of the vocabulary."""
SOURCES = ("captions", "change sentences", "monthly variables", "made statements")
ZIPF_SHARE = 0.7
_FLOOR = 1e-4
_ENDINGS = ("##s", "##ed", "##es", "##ing")
_PASSAGE = 60


def stem(word: str, known: Mapping[str, int]) -> str | None:
    """The singular or the plain form of an English word, where that is a word of the vocabulary itself."""
    if not (word.isalpha() and word.isascii() and len(word) > 3):
        return None
    forms: list[str] = []
    if word.endswith("ies") and len(word) > 4:
        forms = [word[:-3] + "y"]
    if word.endswith("es") and word[:-2][-1] in "sxzho":
        forms.append(word[:-2])
    if word.endswith("s") and word[-2] not in "sui":
        forms.append(word[:-1])
    if word.endswith("ed") and len(word) > 5:
        forms = [word[:-1], word[:-2], word[:-3] if word[-3] == word[-4] else ""]
    if word.endswith("ing") and len(word) > 6:
        forms = [word[:-3] + "e", word[:-3], word[:-4] if word[-4] == word[-5] else ""]
    return next((form for form in forms if len(form) > 2 and form in known), None)


def stems_of(known: Mapping[str, int]) -> npt.NDArray[np.uint16]:
    """The token that each token counts as, by id."""
    stems = np.arange(len(known), dtype=np.uint16)
    for word, number in known.items():
        plain = stem(word, known)
        if plain is not None:
            stems[number] = known[plain]
    while not np.array_equal(stems[stems], stems):
        stems = stems[stems]
    return stems


def shares(rows: Sequence[Sequence[int]], stems: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """The share of texts, given as token ids, in which a token occurs in any of its forms: [V]."""
    found = np.zeros(len(stems))
    for row in rows:
        found[np.unique(stems[np.asarray(row, dtype=np.int64)])] += 1
    return found / max(1, len(rows))


def word_table(tokenizer: Any, texts: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[Any]]:
    """Tensors of ``words.safetensors``: ``weights`` uint8, ``stems`` and ``endings`` uint16 token ids.

    The weight is ``log p / log 1e-4`` times 255 with ``p`` the chance that a passage holds the token; punctuation and
    special tokens weigh nothing.

    Args:
        tokenizer: of the model; not padding.
        texts: by source, at least those of :data:`SOURCES`.
    """
    known: dict[str, int] = tokenizer.get_vocab()
    stems = stems_of(known)
    rank = np.maximum(1.0, np.arange(len(known)) - FIRST + 1.0)
    zipf = 1 - np.exp(-0.1 * _PASSAGE / rank)
    zipf[:FIRST] = 5e-4  # letters and signs, which stand before the words in no order
    zipf[[known[letter] for letter in "asti"]] = (0.9, 0.05, 0.05, 0.05)
    summed = zipf.copy()
    for number in np.flatnonzero(stems != np.arange(len(known))):
        summed[stems[number]] = min(1.0, summed[stems[number]] + zipf[number])
    encoded = {name: [e.ids for e in tokenizer.encode_batch(list(texts[name]))] for name in SOURCES}
    counted = np.mean([shares(rows, stems) for rows in encoded.values()], axis=0)
    chance = np.clip(ZIPF_SHARE * summed + (1 - ZIPF_SHARE) * counted, _FLOOR, 1.0)
    weights = np.log(chance) / np.log(_FLOOR)
    weights[[i for w, i in known.items() if not any(c.isalnum() for c in w)]] = 0
    weights[[i for w, i in known.items() if w.startswith("[") and len(w) > 1]] = 0
    return {
        "weights": np.rint(255 * weights[stems]).astype(np.uint8),
        "stems": stems,
        "endings": np.array(sorted(known[e] for e in _ENDINGS if e in known), dtype=np.uint16),
    }
