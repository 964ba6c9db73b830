"""Words of questions and texts: folded, stemmed, without the ones that carry no meaning.

Questions, re-ranker, reader and citation check all compare texts through :func:`terms`, so that a word counts as the
same word everywhere. English; words of other languages pass through unstemmed except for endings that look English.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_VOWEL = re.compile(r"[aeiouy]")

# Articles, pronouns, prepositions, auxiliaries, and what a question about an archive says anyway.
_STOPWORDS = """
a about above across after against all along also am among an and any are around as at be because been before
being below between both but by can could did do does doing done down during each either else ever every few
for from further get give given go had has have having he her here hers him his how i if in into is it its
itself just let like many may me might more most much must my near neither no nor not now of off on once one
only onto or other our out over own per please rather same shall she should since so some such than that the
their them then there these they this those through thus to too toward towards under until up upon us very via
was we were what whatever when where whether which while who whom whose why will with within without would yet
you your yours tell say show explain describe know known name called named find seen see s t d ll re ve
"""
STOPWORDS = frozenset(_STOPWORDS.split())

_IRREGULAR = {
    "built": "build", "began": "begin", "begun": "begin", "held": "hold", "made": "make", "found": "found",
    "wrote": "write", "written": "write", "rose": "rise", "risen": "rise", "grew": "grow", "grown": "grow",
    "fell": "fall", "fallen": "fall", "dug": "dig", "fought": "fight", "led": "lead", "lay": "lie", "lain": "lie",
    "won": "win", "taught": "teach", "sought": "seek", "sent": "send", "kept": "keep", "drew": "draw", "drawn": "draw",
    "drove": "drive", "driven": "drive", "chose": "choose", "chosen": "choose", "broke": "break", "broken": "break",
    "burnt": "burn", "buried": "bury", "died": "die", "men": "man", "women": "woman", "children": "child",
    "feet": "foot", "oxen": "ox", "mice": "mouse", "leaves": "leaf", "wolves": "wolf", "species": "species",
    "series": "series", "highest": "high", "tallest": "tall", "largest": "large", "biggest": "big", "longest": "long",
    "deepest": "deep", "oldest": "old", "smallest": "small", "higher": "high", "larger": "large", "older": "old",
}  # fmt: skip

_SUFFIXES = (
    "isations", "izations", "isation", "ization", "ational", "fulness", "ousness", "iveness", "ements", "ations",
    "ement", "ation", "ments", "ically", "ingly", "ment", "ness", "ings", "ions", "ally", "edly", "able", "ible",
    "ing", "ion", "ers", "ors", "ian", "ous", "ive", "ity", "ist", "ism", "ise", "ize", "al", "ed", "er", "or", "ly",
    "ic", "es", "s", "e", "y",
)  # fmt: skip


def fold(text: str) -> str:
    """Lower case without accents: ``Þórsmörk`` and ``þorsmork`` compare equal."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def tokens(text: str) -> list[str]:
    """Folded words and numbers in order; thousands separators are dropped (``1,234`` is ``1234``)."""
    return [_number(w) if w[0].isdigit() else w for w in _WORD.findall(fold(text))]


def _number(word: str) -> str:
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", word):
        return word.replace(",", "")
    return word


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The part of a word that its forms share: plural, participle and common derivational endings removed."""
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    for suffix in _SUFFIXES:
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            if len(rest) >= max(3, len(suffix)) and _VOWEL.search(rest) and not (suffix == "s" and rest[-1] in "su"):
                return _undouble(rest) if suffix not in ("s", "e", "y") else _bare(rest)
    return word


def _undouble(rest: str) -> str:
    if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz":
        rest = rest[:-1]
    return _bare(rest)


def _bare(rest: str) -> str:
    return rest[:-1] if len(rest) > 3 and rest[-1] in "ey" else rest


def terms(text: str) -> list[str]:
    """Stems of the content words and numbers of a text, in order, with repeats."""
    return [stem(w) for w in tokens(text) if w not in STOPWORDS]


class Weights(Mapping[str, float]):
    """Inverse document frequencies over a set of texts: ``ln(1 + (N - n + 0.5) / (n + 0.5))`` as in BM25.

    A term that none of the texts holds has the highest weight.
    """

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        frequency: dict[str, int] = {}
        count = 0
        for text in texts:
            count += 1
            for term in set(text):
                frequency[term] = frequency.get(term, 0) + 1
        self._rest = math.log(1 + (count + 0.5) / 0.5)
        self._weights = {t: math.log(1 + (count - n + 0.5) / (n + 0.5)) for t, n in frequency.items()}

    def __getitem__(self, term: str) -> float:
        return self._weights.get(term, self._rest)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def coverage(wanted: Iterable[str], present: Iterable[str], weights: Mapping[str, float] | None = None) -> float:
    """Weighted share of the wanted terms that are present, in [0, 1]; 0 when nothing is wanted."""
    here = set(present)
    total = found = 0.0
    for term in set(wanted):
        weight = 1.0 if weights is None else weights[term]
        total += weight
        found += weight if term in here else 0.0
    return found / total if total else 0.0
