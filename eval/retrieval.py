"""Suite "retrieval": pictures by their captions and captions by their pictures, R@1/5/10 both ways and their mean, mR.

Captions repeat in every remote-sensing set, so what counts as right is said three times:

- **any match** (our main figure): all captions are searched, repeats included; a caption is right for every picture
  that has an equal one, and a picture for every caption equal to one of its own;
- **equal texts once** (SkyScript's protocol): the same, but equal captions are searched and asked once;
- **own only**: a caption belongs to the one picture that it was written for, as most tables count.

Captions are equal when their words are, whatever their case and punctuation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.errors import UsageError
from rsrag.eval.classification import left_out
from rsrag.eval.datasets import leakage
from rsrag.eval.datasets.images import ImageSet
from rsrag.eval.encoders import embed, embed_words, start_encoder
from rsrag.eval.metrics import scores as metrics
from rsrag.eval.metrics.scores import KS, Array, Ints
from rsrag.eval.reports.page import DetailedResult, write_report
from rsrag.eval.reports.published import published
from rsrag.models.base import ModelRow, Vectors
from rsrag.progress import Progress, Silent
from rsrag.train.prompts import normal

SUITE = "retrieval"
_WORST = 20


@dataclass(frozen=True, eq=False)
class Captions:
    """The captions of pictures, each different one once.

    Attributes:
        texts: different captions, T of them, in the order in which they come.
        pairs: (picture, text) for every caption, int64 of shape [P, 2].
        keys: group of equal captions of each text, [T].
        pictures: number of pictures, N.
    """

    texts: tuple[str, ...]
    pairs: Ints
    keys: Ints
    pictures: int

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]]) -> Captions:
        """The captions of pictures in order."""
        texts: dict[str, int] = {}
        pairs = [(row, texts.setdefault(text, len(texts))) for row, own in enumerate(captions) for text in own]
        groups: dict[str, int] = {}
        keys = [groups.setdefault(normal(text), len(groups)) for text in texts]
        table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return cls(tuple(texts), table, np.array(keys, dtype=np.int64), len(captions))

    @cached_property
    def copies(self) -> Ints:
        """How often each text comes, [T]."""
        return np.bincount(self.pairs[:, 1], minlength=len(self.texts))

    @cached_property
    def texts_of_key(self) -> list[Ints]:
        """Texts of every group of equal captions."""
        return _grouped(self.keys, np.arange(len(self.keys)), int(self.keys.max(initial=-1)) + 1)

    @cached_property
    def keys_of_picture(self) -> list[Ints]:
        """Groups of equal captions that every picture has."""
        return _grouped(*_distinct(self.pairs[:, 0], self.keys[self.pairs[:, 1]]), self.pictures)

    @cached_property
    def pictures_of_key(self) -> list[Ints]:
        """Pictures that have a caption of every group."""
        owners, pictures = _distinct(self.keys[self.pairs[:, 1]], self.pairs[:, 0])
        return _grouped(owners, pictures, len(self.texts_of_key))

    @cached_property
    def first_of_key(self) -> Ints:
        """The text that stands for each group, the first one."""
        return np.array([texts[0] for texts in self.texts_of_key], dtype=np.int64)


def _grouped(owners: Ints, values: Ints, count: int) -> list[Ints]:
    order = np.argsort(owners, kind="stable")
    ends = np.cumsum(np.bincount(owners, minlength=count))
    return np.split(values[order], ends[:-1]) if count else []


def _distinct(owners: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Every pair of owner and value once."""
    width = int(values.max(initial=0)) + 1
    codes = np.unique(owners * width + values)
    return codes // width, codes % width


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Hits of one way of counting: of every picture [N, K], and of every query text [Q, K] with its weight [Q]."""

    i2t: Array
    t2i: Array
    weights: Array

    def figures(self) -> dict[str, float]:
        """R@k both ways, the mean of each way, and mR, in per cent."""
        both = {"i2t": self.i2t.mean(axis=0), "t2i": np.average(self.t2i, axis=0, weights=self.weights)}
        result = {f"{way}_R@{k}": 100 * float(v) for way, found in both.items() for k, v in zip(KS, found, strict=True)}
        result |= {f"{way}_mR": 100 * float(found.mean()) for way, found in both.items()}
        return {"mR": 100 * float(np.mean(list(both.values()))), **result}


def any_match(images: Vectors, texts: Vectors, captions: Captions, progress: Progress | None = None) -> Found:
    """All captions are searched; any picture or caption with an equal caption is right.

    Args:
        images: unit vectors of the pictures, [N, D].
        texts: unit vectors of the different captions, [T, D].
        captions: whose captions they are.
        progress: told of every query.
    """

    def of_picture(row: int) -> metrics.Relevant:
        own = np.concatenate([captions.texts_of_key[key] for key in captions.keys_of_picture[row]])
        return own, captions.copies[own].astype(np.float64)

    def of_text(row: int) -> metrics.Relevant:
        own = captions.pictures_of_key[captions.keys[row]]
        return own, np.ones(len(own))

    weights = captions.copies.astype(np.float64)
    i2t = _search("pictures → captions", images, texts, weights, of_picture, progress)
    t2i = _search("captions → pictures", texts, images, np.ones(len(images)), of_text, progress)
    return Found(i2t, t2i, weights)


def once(images: Vectors, texts: Vectors, captions: Captions, progress: Progress | None = None) -> Found:
    """Equal captions are searched and asked once (SkyScript, Wang et al. 2024); arguments as for :func:`any_match`."""

    def of_picture(row: int) -> metrics.Relevant:
        own = captions.keys_of_picture[row]
        return own, np.ones(len(own))

    def of_key(row: int) -> metrics.Relevant:
        own = captions.pictures_of_key[row]
        return own, np.ones(len(own))

    single = texts[captions.first_of_key]
    weights = np.ones(len(single))
    i2t = _search("pictures → different captions", images, single, weights, of_picture, progress)
    t2i = _search("different captions → pictures", single, images, np.ones(len(images)), of_key, progress)
    return Found(i2t, t2i, weights)


def own_only(images: Vectors, texts: Vectors, captions: Captions, progress: Progress | None = None) -> Found:
    """A caption is right for the one picture it was written for; arguments as for :func:`any_match`."""
    texts_of = _grouped(captions.pairs[:, 0], captions.pairs[:, 1], captions.pictures)

    def of_picture(row: int) -> metrics.Relevant:
        own, counts = np.unique(texts_of[row], return_counts=True)
        return own, counts.astype(np.float64)

    def of_pair(row: int) -> metrics.Relevant:
        return captions.pairs[row, :1], np.ones(1)

    weights = captions.copies.astype(np.float64)
    asked = texts[captions.pairs[:, 1]]
    i2t = _search("pictures → own captions", images, texts, weights, of_picture, progress)
    t2i = _search("captions → own picture", asked, images, np.ones(len(images)), of_pair, progress)
    return Found(i2t, t2i, np.ones(len(asked)))


def _search(
    stage: str,
    queries: Vectors,
    gallery: Vectors,
    weights: Array,
    relevant: Callable[[int], metrics.Relevant],
    progress: Progress | None,
) -> Array:
    progress = progress or Silent()
    progress.start(stage, len(queries), unit="queries")
    found = metrics.chunked_hits(queries, gallery, weights, relevant, advance=progress.advance)
    progress.finish()
    return found


WAYS: Mapping[str, Callable[[Vectors, Vectors, Captions, Progress | None], Found]] = {
    "any match": any_match,
    "equal texts once": once,
    "own only": own_only,
}


def run(
    images: ImageSet,
    row: ModelRow,
    *,
    prefix: str = "",
    dataset: str | None = None,
    allow_leaked: bool = False,
    seed: int = 0,
    report: Path | None = None,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure an encoder on pictures with captions.

    Args:
        images: pictures with captions, see :func:`rsrag.eval.datasets.images.read_captions`.
        row: the encoder.
        prefix: put before every caption, such as SkyScript's "a satellite image. ".
        dataset: whose published figures to show beside ours.
        allow_leaked: measure also with pictures that were in training, and say so.
        seed: of the bootstrap.
        report: folder for a report.
        progress: told of every picture and query.

    Raises:
        UsageError: fewer than two pictures, or pictures that were in training.
        ModelError: the encoder cannot be used.
    """
    others = published(SUITE, dataset)
    if len(images.items) < 2:
        raise UsageError(f"{images.name} has {len(images.items)} picture", hint="retrieval needs at least two")
    leaks = leakage.check(images, row, allow_leaked=allow_leaked)
    encoder = start_encoder(row)
    vectors = embed(encoder, images, progress)
    captions = Captions.of([item.captions for item in images.items])
    texts = embed_words(encoder, [prefix + text for text in captions.texts], progress)
    found = {way: count(vectors, texts, captions, progress) for way, count in WAYS.items()}
    tag = ", LEAKED pictures included" if leaks.leaks else ""
    rows: dict[str, Mapping[str, float]] = {f"{encoder.name}, {w}{tag}": f.figures() for w, f in found.items()}
    own = dict(next(iter(rows.values())))
    clean = leaks.clean_rows()
    if leaks.leaks and len(clean) > 1:
        rows |= _clean_rows(encoder.name, vectors, texts, images, clean, captions)
    rows["chance, any match"] = _chance(captions)
    rows |= {one.title: one.figures for one in others}
    low, high = _interval(found["any match"], captions, seed)
    own |= {"mR_low": low, "mR_high": high}
    rows[next(iter(rows))] = own
    details: dict[str, Any] = leaks.details() | {
        "encoder": f"{encoder.name} ({encoder.fingerprint})",
        "pictures": len(images.items),
        "captions": len(captions.pairs),
        "different captions": len(captions.texts_of_key),
        "prefix": prefix or "none",
        "figures": "per cent; mR_low to mR_high is the 95 % interval of mR, by drawing pictures with their captions",
    }
    details |= left_out(images)
    if others:
        details["published figures from"] = sorted({one.source for one in others})
    tables: dict[str, list[dict[str, Any]]] = {"Hardest pictures": _hardest(vectors, texts, captions, images, found)}
    tables |= {"Left out": [asdict(skip) for skip in images.skips]} if images.skips else {}
    result = DetailedResult(SUITE, own, rows, details, tables)
    if report is not None:
        write_report(result, report)
    return result


def _clean_rows(
    name: str, vectors: Vectors, texts: Vectors, images: ImageSet, clean: Sequence[int], captions: Captions
) -> dict[str, Mapping[str, float]]:
    """Figures over the pictures that were not in training, alone."""
    rest = Captions.of([images.items[row].captions for row in clean])
    number = {text: i for i, text in enumerate(captions.texts)}
    kept = texts[[number[text] for text in rest.texts]]
    return {
        f"{name}, {way}, without leaked pictures": count(vectors[clean], kept, rest, None).figures()
        for way, count in WAYS.items()
    }


def _chance(captions: Captions) -> dict[str, float]:
    """Figures when every score is the same: each order is as likely as any other."""
    copies = captions.copies.astype(np.float64)
    of_key = np.bincount(captions.keys, weights=copies)
    own = np.array([of_key[keys].sum() for keys in captions.keys_of_picture])
    having = np.array([len(captions.pictures_of_key[key]) for key in captions.keys], dtype=np.float64)
    i2t = metrics.hit_chances(np.zeros(len(own)), np.full(len(own), copies.sum()), own)
    t2i = metrics.hit_chances(np.zeros(len(having)), np.full(len(having), float(captions.pictures)), having)
    return Found(i2t, t2i, copies).figures()


def _interval(found: Found, captions: Captions, seed: int) -> tuple[float, float]:
    sums = np.zeros((captions.pictures, len(KS)))
    np.add.at(sums, captions.pairs[:, 0], found.t2i[captions.pairs[:, 1]])
    counts = np.bincount(captions.pairs[:, 0], minlength=captions.pictures)
    return metrics.mean_recall_interval(found.i2t, sums, counts, seed)


def _hardest(
    vectors: Vectors, texts: Vectors, captions: Captions, images: ImageSet, found: Mapping[str, Found]
) -> list[dict[str, Any]]:
    """Pictures without a right caption among the first ten, with the caption that came first instead."""
    missed = np.flatnonzero(found["any match"].i2t[:, -1] == 0)[:_WORST]
    return [
        {
            "picture": images.items[row].file,
            "first caption found": captions.texts[int((texts @ vectors[row]).argmax())],
            "its own": Counter(images.items[row].captions).most_common(1)[0][0],
        }
        for row in missed
    ]
