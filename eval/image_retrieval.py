"""Suite "image-retrieval": pictures found by a picture, of the same class and of the same place.

On a folder of classes every picture is a query against all others: a hit is right when it is of the query's class.
Then the queries are altered (turned, cropped, recoloured, all of it) while the archive stays as it is: is the same
class still found, and is the very same picture? A colour histogram and chance stand beside the encoder. Vectors whose
words reach only some columns (the mini tower's semantic half) are measured by halves, too.

Scenes of several dates go to :func:`run_dates`: place recognition by the embedding alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import UsageError
from rsrag.eval.classification import left_out
from rsrag.eval.datasets import leakage
from rsrag.eval.datasets.images import ImageSet, read_folders
from rsrag.eval.encoders import choose_row, embed, encoder_settings, start_encoder
from rsrag.eval.place_recognition import histogram
from rsrag.eval.reports.intervals import mean_interval
from rsrag.eval.reports.page import DetailedResult, write_report
from rsrag.models.base import ImageEncoder, Picture, Vectors
from rsrag.models.vectors import unit
from rsrag.progress import Progress, Silent
from rsrag.train.augment import Strength, recolour, warp

NEAREST = 20
ALTERED = "Altered queries"
_BLOCK = 8_000_000
_PROBES = ("river", "airport", "forest", "a row of houses", "ships in a harbour", "desert")
ALTERATIONS: Mapping[str, Strength] = {
    "turned": Strength(area=(1.0, 1.0), stretch=0.0, colour=0.0, rotate=True, damage=0.0),
    "cropped": Strength(area=(0.5, 0.8), stretch=0.0, colour=0.0, rotate=False, damage=0.0),
    "recoloured": Strength(area=(1.0, 1.0), stretch=0.0, colour=1.0, rotate=False, damage=0.0),
    "all three": Strength(area=(0.5, 0.8), stretch=0.0, colour=1.0, rotate=True, damage=0.0),
}
"""What is done to the queries: any turn and flip; 50 to 80 % of the area; other light, colours and haze."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """How well rankings put pictures of the query's class first, one value a query, each in [0, 1].

    Attributes:
        average: average precision over the whole ranking.
        average_near: average precision of the nearest 20, over min(20, relevant) places.
        first: whether the first is right.
        five: share of right ones among the first five.
        ten: share of right ones among the first ten.
        same: whether the first is the query's own original; NaN where the original was left out.
    """

    average: npt.NDArray[np.float64]
    average_near: npt.NDArray[np.float64]
    first: npt.NDArray[np.float64]
    five: npt.NDArray[np.float64]
    ten: npt.NDArray[np.float64]
    same: npt.NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Means in per cent; ``same@1`` only for altered queries."""
        named = {
            "mAP": self.average,
            "mAP@20": self.average_near,
            "R@1": self.first,
            "P@5": self.five,
            "P@10": self.ten,
        }
        if np.isfinite(self.same).any():
            named["same@1"] = self.same
        return {name: 100 * float(values.mean()) for name, values in named.items()}


def rank(queries: Vectors, archive: Vectors, labels: Sequence[str] | npt.NDArray[np.str_], *, altered: bool) -> Ranked:
    """Measure the rankings of an archive by cosine.

    Query *i* was made from picture *i* of the archive, which does not count as a hit; for altered queries it is looked
    for by itself. Queries whose class has no other picture are left out. Equal cosines keep the archive's order.

    Args:
        queries: float32 [N, dim], unit length.
        archive: float32 [N, dim], unit length.
        labels: the class of every picture.
        altered: whether the queries differ from the archive's pictures.

    Raises:
        UsageError: no class has two pictures.
    """
    names = np.asarray(labels)
    _, numbers, counts = np.unique(names, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts[numbers] > 1)
    if not len(kept):
        raise UsageError("no class has two pictures: nothing to find")
    parts: list[npt.NDArray[np.float64]] = []
    step = max(1, _BLOCK // len(archive))
    for start in range(0, len(kept), step):
        rows = kept[start : start + step]
        scores = queries[rows] @ archive.T
        own = scores[np.arange(len(rows)), rows].copy()
        scores[np.arange(len(rows)), rows] = -np.inf
        same = (own > scores.max(axis=1)).astype(np.float64) if altered else np.full(len(rows), np.nan)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
        hits = numbers[order] == numbers[rows, None]
        precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
        relevant = hits.sum(axis=1)
        whole = (precision * hits).sum(axis=1) / relevant
        near = (precision * hits)[:, :NEAREST].sum(axis=1) / np.minimum(relevant, NEAREST)
        firsts = [hits[:, :k].mean(axis=1) for k in (1, 5, 10)]
        parts.append(np.stack([whole, near, *firsts, same]))
    return Ranked(*np.concatenate(parts, axis=1))


def halves(encoder: ImageEncoder) -> dict[str, npt.NDArray[np.bool_]]:
    """Columns that words reach ("semantic") and those they do not ("instance"); empty where words reach all.

    Learnt from what the encoder gives for a few words, so any encoder with a part of its own for looks qualifies.
    """
    reached = np.abs(encoder.encode_words(list(_PROBES))).max(axis=0) > 0
    return {} if reached.all() or not reached.any() else {"semantic": reached, "instance": ~reached}


def alter(picture: Picture, name: str, rng: np.random.Generator) -> Picture:
    """A picture changed as :data:`ALTERATIONS` says: uint8, square, with the side of its shorter side."""
    strength = ALTERATIONS[name]
    out = (
        warp(picture, min(picture.shape[:2]), strength, rng) if strength.rotate or strength.area != (1, 1) else picture
    )
    return recolour(out, strength, rng)


def run(
    data: Path,
    *,
    labels_file: Path | str | None = None,
    split: str | None = None,
    seed: int = 0,
    profile: str | None = None,
    encoder: str | None = None,
    allow_leaked: bool = False,
    report: Path | None = None,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure on a folder of classes.

    Args:
        data: folder or zip file with one folder a class, perhaps below a folder a split.
        labels_file: what the classes are called; only that they differ matters here.
        split: which split.
        seed: of the alterations.
        profile: whose image encoder is measured.
        encoder: the image encoder itself.
        allow_leaked: measure on pictures that were in training, too.
        report: folder for the report.
        progress: told of every picture.

    Raises:
        UsageError: nothing to find, or pictures that were in training.
        SourceError: pictures that cannot be read.
        ModelError: an encoder that cannot be used.
    """
    progress = progress or Silent()
    images = read_folders(data, labels_file, split, progress)
    row = choose_row(profile, encoder)
    leaks = leakage.check(images, row, allow_leaked=allow_leaked)
    model = start_encoder(row, encoder_settings(profile))
    labels = [item.label for item in images.items]
    archive = embed(model, images, progress)
    plain = rank(archive, archive, labels, altered=False)
    rows: dict[str, dict[str, float]] = {model.name: plain.figures()}
    parts = halves(model)
    for name, columns in parts.items():
        part = unit(archive[:, columns])
        rows[f"{model.name}, {name} half"] = rank(part, part, labels, altered=False).figures()
    colours = histograms(images)
    rows["colour histogram"] = rank(colours, colours, labels, altered=False).figures()
    rows["chance"] = chance(labels)
    table: list[dict[str, Any]] = []
    for number, name in enumerate(ALTERATIONS):
        altered, painted = _altered(model, images, name, (seed, number), progress)
        pairs = {model.name: (altered, archive), "colour histogram": (painted, colours)}
        for half, columns in parts.items():
            pairs[f"{model.name}, {half} half"] = (unit(altered[:, columns]), unit(archive[:, columns]))
        for by, (one, other) in pairs.items():
            table.append({"queries": name, "vectors": by, **rank(one, other, labels, altered=True).figures()})
    hardest = next(row for row in table if row["queries"] == "all three" and row["vectors"] == model.name)
    low, high = (100 * bound for bound in mean_interval(plain.average.tolist()))
    rows[model.name] |= {
        "mAP_low": low,
        "mAP_high": high,
        "altered_mAP": hardest["mAP"],
        "altered_same@1": hardest["same@1"],
    }
    details: dict[str, Any] = {
        "pictures": f"{len(images.items)} of {len(images.labels)} classes, {images.name}" + (f" {split}" * bool(split)),
        "queries": len(plain.average),
        "units": "per cent",
        **left_out(images),
        **leaks.details(),
        "image model": model.fingerprint,
    }
    result = DetailedResult("image-retrieval", rows[model.name], rows, details, {ALTERED: table}, (ALTERED,))
    if report is not None:
        write_report(result, report)
    return result


def histograms(images: ImageSet) -> Vectors:
    """Square roots of colour histograms, float32 [N, 512] of unit length: their cosine is the Bhattacharyya overlap."""
    counted = [histogram(picture) for batch in images.batches() for picture in batch]
    return np.sqrt(np.stack(counted)).astype(np.float32)


def chance(labels: Sequence[str]) -> dict[str, float]:
    """What a random order reaches on average, in per cent: the share of right pictures among the others.

    The mean average precision of a random order is slightly above that share; it is given exactly by the expectation
    ``(1/N) Σ_k [(R-1)/(N-1) · (k-1) + 1] / k`` for *R* right ones among *N* (Bestgen, 2015).
    """
    _, numbers, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    others = len(labels) - 1
    right = counts[numbers][counts[numbers] > 1] - 1
    if others < 2:
        return dict.fromkeys(("mAP", "R@1", "P@5", "P@10"), 100.0)
    ranks = np.arange(1, others + 1)
    expected = {
        r: float((((r - 1) / (others - 1) * (ranks - 1) + 1) / ranks).mean()) for r in np.unique(right).tolist()
    }
    share = 100 * float((right / others).mean())
    return {
        "mAP": 100 * float(np.mean([expected[r] for r in right.tolist()])),
        "R@1": share,
        "P@5": share,
        "P@10": share,
    }


def _altered(
    model: ImageEncoder, images: ImageSet, name: str, seed: tuple[int, int], progress: Progress
) -> tuple[Vectors, Vectors]:
    """Vectors and histograms of the altered pictures; the alteration of a picture depends on the seed and its place."""
    vectors, painted = [np.zeros((0, model.dim), dtype=np.float32)], []
    progress.start(f"queries, {name}", len(images.items), unit="pictures")
    done = 0
    for batch in images.batches():
        changed = [alter(picture, name, np.random.default_rng([*seed, done + i])) for i, picture in enumerate(batch)]
        vectors.append(model.encode_images(changed))
        painted += [histogram(picture) for picture in changed]
        done += len(batch)
        progress.advance(len(batch))
    progress.finish()
    return np.concatenate(vectors), np.sqrt(np.stack(painted)).astype(np.float32)
