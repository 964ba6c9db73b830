"""BLEU, ROUGE-L, CIDEr and CIDEr-D of sentences against several references, as the COCO caption scorers define them.

Tokens are lower-case words without punctuation (what the PTB tokeniser of those scorers leaves of such sentences).
METEOR and SPICE need Java programs and are not computed here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rsrag.adapters.caption.consensus import ORDERS, Grams, cider_d, document_frequency, grams
from rsrag.models.captioner import words_of

_TINY, _SMALL = 1e-15, 1e-9
_BETA = 1.2
"""Weight of recall in ROUGE-L, that of the COCO scorers."""


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float, float, float]:
    """Corpus BLEU-1 to BLEU-4 with the closest reference length (Papineni et al. 2002), 0 to 1."""
    right, guessed = [0] * ORDERS, [0] * ORDERS
    ours, theirs = 0, 0
    for sentence, others in zip(candidates, references, strict=True):
        own, tested = grams(words_of(sentence)), [grams(words_of(other)) for other in others]
        length = sum(own[0].values())
        lengths = [sum(other[0].values()) for other in tested]
        ours += length
        theirs += min(lengths, key=lambda n: (abs(n - length), n))
        for n in range(ORDERS):
            most: Counter[tuple[str, ...]] = Counter()
            for other in tested:
                most |= other[n]
            guessed[n] += max(0, length - n)
            right[n] += sum(min(count, most[gram]) for gram, count in own[n].items())
    brevity = 1.0 if ours >= theirs else math.exp(1 - theirs / max(ours, 1))
    product, found = 1.0, []
    for n in range(ORDERS):
        product *= (right[n] + _TINY) / (guessed[n] + _SMALL)
        found.append(brevity * product ** (1 / (n + 1)))
    return found[0], found[1], found[2], found[3]


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L (Lin 2004): best precision and best recall over the references, 0 to 1."""
    total = 0.0
    for sentence, others in zip(candidates, references, strict=True):
        own = words_of(sentence)
        precision = recall = 0.0
        for other in map(words_of, others):
            common = _common(own, other)
            precision = max(precision, common / max(len(own), 1))
            recall = max(recall, common / max(len(other), 1))
        if precision and recall:
            total += (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return total / max(len(candidates), 1)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for number, other in enumerate(second, start=1):
            kept = row[number]
            row[number] = before + 1 if word == other else max(row[number], row[number - 1])
            before = kept
    return row[-1]


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Mean CIDEr and CIDEr-D (Vedantam et al. 2015), times 10 as usual; document frequencies from the references."""
    tested = [[grams(words_of(other)) for other in others] for others in references]
    frequency, count = document_frequency(tested), len(references)
    plain = clipped = 0.0
    for sentence, others in zip(candidates, tested, strict=True):
        own = grams(words_of(sentence))
        plain += sum(_cosine(own, other, frequency, count) for other in others) / max(len(others), 1)
        clipped += sum(cider_d(own, other, frequency, count) for other in others) / max(len(others), 1)
    return plain / max(len(candidates), 1), clipped / max(len(candidates), 1)


def _cosine(own: Grams, other: Grams, frequency: Counter[tuple[str, ...]], documents: int) -> float:
    ceiling = math.log(max(documents, 2))
    total = 0.0
    for ours, theirs in zip(own, other, strict=True):
        a = {g: c * (ceiling - math.log(max(1, frequency.get(g, 0)))) for g, c in ours.items()}
        b = {g: c * (ceiling - math.log(max(1, frequency.get(g, 0)))) for g, c in theirs.items()}
        norm = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
        total += sum(value * b.get(g, 0.0) for g, value in a.items()) / norm if norm else 0.0
    return 10 * total / ORDERS


def caption_figures(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """All of them by name."""
    names = ("bleu1", "bleu2", "bleu3", "bleu4")
    plain, clipped = cider(candidates, references)
    return {
        **dict(zip(names, bleu(candidates, references), strict=True)),
        "rouge_l": rouge_l(candidates, references),
        "cider": plain,
        "cider_d": clipped,
    }
