"""Suite "attributes": which value of an attribute does a picture show? Asphalt or gravel, green or blue, two or four.

As in SkyScript's fine-grained classification (Wang et al., AAAI 2024): for every key the sentences of its values are
the candidates, the best cosine wins. Pictures come with tags, from a file or derived from captions
(:mod:`rsrag.eval.datasets.tags`). A picture with several values of a key is right with any of them. Beside the encoder:
guessing, and always saying the commonest value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import UsageError
from rsrag.eval.classification import left_out
from rsrag.eval.datasets import leakage
from rsrag.eval.datasets.images import read_captions, read_rows
from rsrag.eval.datasets.tags import default_template, read_tags, tags_of_captions, write_tags
from rsrag.eval.encoders import choose_row, embed, embed_words, encoder_settings, start_encoder
from rsrag.eval.reports.intervals import mean_interval
from rsrag.eval.reports.page import DetailedResult, write_report
from rsrag.eval.reports.published import dataset_of, datasets, published
from rsrag.eval.reports.result import mean
from rsrag.models.base import ImageEncoder, Vectors
from rsrag.models.vectors import unit
from rsrag.progress import Progress, Silent
from rsrag.train.sources.caption_files import CaptionRow

BY_KEY = "By attribute"
FEWEST = 3
"""Pictures that a value needs to be a candidate."""
TEMPLATES = ("{}", "a satellite photo of {}.", "a satellite image of {}")
"""SkyScript's two, and the bare words."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One key with its candidates and the pictures that show one.

    Attributes:
        key: as in the tags.
        values: candidates, sorted.
        sentences: what each value is in words.
        rows: pictures, by their place in the set.
        truth: for every row, places of its values.
    """

    key: str
    values: tuple[str, ...]
    sentences: tuple[str, ...]
    rows: tuple[int, ...]
    truth: tuple[frozenset[int], ...]


def attributes_of(
    tags: Sequence[Mapping[str, frozenset[str]]], sentences: Mapping[str, str], fewest: int = FEWEST
) -> list[Attribute]:
    """Keys with two values or more that enough pictures show.

    Args:
        tags: of every picture.
        sentences: key → template with ``{value}``.
        fewest: pictures that a value needs; rarer ones are no candidates, pictures with none left not asked about.
    """
    found = []
    for key in sorted({key for one in tags for key in one}):
        counts = Counter(value for one in tags for value in one.get(key, ()))
        values = tuple(sorted(value for value, count in counts.items() if count >= fewest))
        if len(values) < 2:
            continue
        place = {value: i for i, value in enumerate(values)}
        truth = {row: frozenset(place[v] for v in one.get(key, ()) if v in place) for row, one in enumerate(tags)}
        kept = {row: shown for row, shown in truth.items() if 0 < len(shown) < len(values)}
        if len(kept) < 2:
            continue
        template = sentences.get(key) or default_template(key)
        said = tuple(template.replace("{value}", " ".join(value.split("_"))) for value in values)
        found.append(Attribute(key, values, said, tuple(kept), tuple(kept.values())))
    return found


def run(
    data: Path,
    *,
    tags: Path | None = None,
    from_captions: Path | None = None,
    split: str | None = None,
    keep_tags: Path | None = None,
    profile: str | None = None,
    encoder: str | None = None,
    allow_leaked: bool = False,
    report: Path | None = None,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure on pictures with tags, or with captions that tags are derived from.

    Args:
        data: folder or zip file with the pictures.
        tags: see :func:`rsrag.eval.datasets.tags.read_tags`.
        from_captions: in a layout of :mod:`rsrag.train.sources.caption_files`; a path, or its name inside ``data``.
        split: only captions of this split; a tag file has none.
        keep_tags: file that the derived tags are written to.
        profile: whose image encoder is measured.
        encoder: the image encoder itself.
        allow_leaked: measure on pictures that were in training, too.
        report: folder for the report.
        progress: told of every picture.

    Raises:
        UsageError: neither or both of tags and captions, no attribute left, or pictures that were in training.
        SourceError: pictures that cannot be read.
        ModelError: an encoder that cannot be used.
    """
    progress = progress or Silent()
    if (tags is None) == (from_captions is None):
        raise UsageError("tags are needed: from a file or from captions", hint="--tags FILE or --from-captions FILE")
    if tags is not None and split is not None:
        hint = "leave pictures of other splits out of the tag file"
        raise UsageError("--split belongs to --from-captions, a tag file has no splits", hint=hint)
    if tags is not None:
        known, origin = read_tags(tags), tags.name
        # The only caption of a picture is its name in the tag file.
        images = read_rows(data, [CaptionRow(file, (file,)) for file in known.tags], tags, progress)
        shown: list[Mapping[str, frozenset[str]]] = [known.tags[item.captions[0]] for item in images.items]
    elif from_captions is not None:
        images = read_captions(data, from_captions, split, progress)
        known = tags_of_captions({item.file: item.captions for item in images.items})
        shown = [known.tags.get(item.file, {}) for item in images.items]
        origin = f"derived from {from_captions.name}"
        if keep_tags is not None:
            write_tags(keep_tags, known)
    asked = attributes_of(shown, known.sentences)
    if not asked:
        raise UsageError(f"{origin}: no key has two values of {FEWEST} pictures each")
    used = sorted({row for one in asked for row in one.rows})
    images = images.chosen(used)
    place = {row: i for i, row in enumerate(used)}
    row = choose_row(profile, encoder)
    leaks = leakage.check(images, row, allow_leaked=allow_leaked)
    model = start_encoder(row, encoder_settings(profile))
    vectors = embed(model, images, progress)
    table: list[dict[str, Any]] = []
    hits: list[float] = []
    owners: list[int] = []
    for one in asked:
        own = [place[r] for r in one.rows]
        right = judge(one, vectors[own] @ sentence_vectors(model, one.sentences).T)
        table.append(_row(one, right))
        hits += right.tolist()
        owners += own
    rows = {model.name: _own_row(table, hits, owners), **_blind(asked, table)}
    details: dict[str, Any] = {
        "attributes": len(asked),
        "pictures": len(images.items),
        "questions": len(hits),
        "tags": origin,
        "units": "per cent; top1 over the questions, recall over values and then keys",
        **left_out(images),
        **leaks.details(),
        "image model": model.fingerprint,
    }
    tables = {BY_KEY: table, "Published, other pictures": _published()}
    if len(asked) == 1 and (dataset := dataset_of(asked[0].key.replace(":", " "))) in datasets("attributes"):
        rows |= {row.title: dict(row.figures) for row in published("attributes", dataset)}
    result = DetailedResult("attributes", rows[model.name], rows, details, tables, (BY_KEY,))
    if report is not None:
        write_report(result, report)
    return result


def sentence_vectors(encoder: ImageEncoder, sentences: Sequence[str]) -> Vectors:
    """One unit vector a sentence, float32 [V, dim]: the mean over the templates."""
    bank = embed_words(encoder, [t.replace("{}", said) for said in sentences for t in TEMPLATES])
    return unit(bank.reshape(len(sentences), len(TEMPLATES), -1).mean(axis=1))


def judge(one: Attribute, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """1 where the best value is one that the picture shows, else 0.

    Args:
        one: the attribute.
        scores: [N, V], of its pictures against its values.
    """
    best = scores.argmax(axis=1)
    return np.array([float(int(b) in shown) for b, shown in zip(best, one.truth, strict=True)])


def _row(one: Attribute, right: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Figures of one attribute beside what needs no picture."""
    counts = [sum(i in shown for shown in one.truth) for i in range(len(one.values))]
    shares = [
        np.mean([hit for hit, shown in zip(right, one.truth, strict=True) if i in shown])
        for i in range(len(counts))
        if counts[i]
    ]
    return {
        "attribute": one.key,
        "values": ", ".join(f"{value} {count}" for value, count in zip(one.values, counts, strict=True)),
        "questions": len(one.rows),
        "top1": 100 * float(right.mean()),
        "recall": 100 * float(np.mean(shares)),
        "guessing": 100 * mean([len(shown) / len(one.values) for shown in one.truth]),
        "commonest": 100 * max(counts) / len(one.truth),
    }


def _own_row(table: Sequence[Mapping[str, Any]], hits: Sequence[float], owners: Sequence[int]) -> dict[str, float]:
    low, high = (100 * bound for bound in mean_interval(hits, owners))
    recall = mean([row["recall"] for row in table])
    return {"top1": 100 * mean(hits), "recall": recall, "top1_low": low, "top1_high": high}


def _blind(asked: Sequence[Attribute], table: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What is reached without looking."""
    weights = [len(one.rows) for one in asked]
    recall = mean([100 / len(one.values) for one in asked])
    return {
        title: {"top1": float(np.average([row[column] for row in table], weights=weights)), "recall": recall}
        for title, column in (("guessing", "guessing"), ("the commonest value", "commonest"))
    }


def _published() -> list[dict[str, Any]]:
    """Top-1 that SkyScript's authors report for three keys of OpenStreetMap."""
    found: dict[str, dict[str, Any]] = {}
    for dataset in datasets("attributes"):
        for row in published("attributes", dataset):
            found.setdefault(row.title, {"model": row.title})[dataset] = row.figures.get("top1")
    return list(found.values())
