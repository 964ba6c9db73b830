"""Suite "classification": the class of a picture by words alone, against one averaged prompt vector a class.

Every class name is put into every template; the texts' vectors are averaged and renormalised (Radford et al. 2021,
section 3.1.4), and a picture belongs to the class with the largest cosine. Confidence is the largest softmax of the
cosines over a temperature. A picture whose confidence is under ``unknown`` is given no class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.errors import UsageError
from rsrag.eval.datasets import leakage
from rsrag.eval.datasets.images import ImageSet
from rsrag.eval.encoders import embed, embed_words, start_encoder
from rsrag.eval.metrics import scores as metrics
from rsrag.eval.metrics.scores import Array, Ints
from rsrag.eval.reports import charts
from rsrag.eval.reports.page import DetailedResult, write_report
from rsrag.eval.reports.published import published
from rsrag.models.base import ImageEncoder, ModelRow, Vectors
from rsrag.models.calibration import calibration
from rsrag.models.vectors import unit
from rsrag.progress import Progress
from rsrag.train.prompts import TEMPLATES

SUITE = "classification"
_THRESHOLDS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_SHOWN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Pictures with their scores against the classes.

    Attributes:
        scores: cosines, float of shape [N, C].
        truth: the right class of each picture, [N].
        folds: 0 or 1 for each picture, by its digest; a temperature fitted on one half is measured on the other.
    """

    scores: Vectors
    truth: Ints
    folds: Ints

    def chosen(self, rows: Sequence[int]) -> Judged:
        """The same for some of the pictures."""
        return Judged(self.scores[rows], self.truth[rows], self.folds[rows])


def read_templates(path: Path) -> tuple[str, ...]:
    """Templates, one a line, each with ``{}`` where the class goes; empty lines and lines with # are left out.

    Raises:
        UsageError: no such file, no templates, or one without its place for the class.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read templates {path}: {error}") from error
    kept = tuple(line for line in lines if line and not line.startswith("#"))
    wrong = next((line for line in kept if line.count("{}") != 1), None)
    if wrong is not None or not kept:
        what = f"{wrong!r} must hold {{}} once" if wrong is not None else "no templates"
        raise UsageError(f"templates {path}: {what}", hint="one a line, such as: a satellite image of {}")
    return kept


def class_vectors(encoder: ImageEncoder, names: Sequence[str], templates: Sequence[str]) -> Vectors:
    """One vector a class: the mean over the templates, of unit length, float32 of shape [C, dim]."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    banks = embed_words(encoder, texts).reshape(len(names), len(templates), -1).mean(axis=1)
    return unit(banks)


def run(
    images: ImageSet,
    row: ModelRow,
    *,
    templates: Sequence[str] = TEMPLATES,
    temperature: float | None = None,
    turns: int = 1,
    unknown: float | None = None,
    dataset: str | None = None,
    allow_leaked: bool = False,
    report: Path | None = None,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure an encoder on pictures with classes.

    Args:
        images: pictures with labels, see :func:`rsrag.eval.datasets.images.read_folders`.
        row: the encoder.
        templates: sentences with ``{}`` where the class goes.
        temperature: of the softmax that makes cosines confidences; the encoder's own when None, CLIP's where none was
            fitted for it.
        turns: 1, 2, 4 or 8 turns of a picture whose vectors are averaged.
        unknown: least confidence that a class is given for, in [0, 1].
        dataset: whose published figures to show beside ours.
        allow_leaked: measure also with pictures that were in training, and say so.
        report: folder for a report.
        progress: told of every picture.

    Raises:
        UsageError: fewer than two classes, or pictures that were in training.
        ModelError: the encoder cannot be used.
    """
    others = published(SUITE, dataset)
    classes = images.labels
    if len(classes) < 2:
        raise UsageError(f"{images.name} has {len(classes)} class", hint="classification needs at least two")
    leaks = leakage.check(images, row, allow_leaked=allow_leaked)
    encoder = start_encoder(row)
    names = [images.words[label] for label in classes]
    temperature = calibration(encoder.fingerprint).temperature if temperature is None else temperature
    scores = embed(encoder, images, progress, turns=turns) @ class_vectors(encoder, names, templates).T
    number = {label: i for i, label in enumerate(classes)}
    truth = np.array([number[item.label] for item in images.items], dtype=np.int64)
    folds = np.array([int(item.sha256[:8], 16) % 2 for item in images.items], dtype=np.int64)
    judged = Judged(scores, truth, folds)
    rows = our_rows(encoder.name, judged, leaks, temperature, unknown)
    own = dict(next(iter(rows.values())))
    rows["chance"] = {"top1": 100 / len(classes), "macro": 100 / len(classes)}
    rows |= {one.title: one.figures for one in others}
    details: dict[str, Any] = leaks.details() | {
        "encoder": f"{encoder.name} ({encoder.fingerprint})",
        "pictures": len(images.items),
        "classes": len(classes),
        "templates": len(templates),
        "turns": turns,
        "temperature": temperature,
        "temperature that fits": round(metrics.fit_temperature(scores, truth), 4),
        "figures": f"per cent; ECE over {metrics.BINS} equal bins; for ece_fitted each half of the pictures has the "
        "temperature that fits the other half",
    }
    details |= left_out(images)
    if others:
        details["published figures from"] = sorted({one.source for one in others})
    counts, tables = _tables(judged, names, temperature, unknown)
    tables |= {"Left out": [asdict(skip) for skip in images.skips]} if images.skips else {}
    result = DetailedResult(SUITE, own, rows, details, tables, ("Per class",))
    if report is not None:
        pictures = {
            "Confusion matrix": charts.matrix(names, counts if unknown is not None else counts[:, :-1]),
            "Reliability": charts.reliability([asdict(b) for b in _bins(judged, temperature)]),
        }
        write_report(result, report, pictures)
    return result


def left_out(images: ImageSet) -> dict[str, Any]:
    """What a result says about files that could not be used; nothing when there are none."""
    if not images.skips:
        return {}
    shown = [f"{skip.file}: {skip.reason}" for skip in images.skips[:_SHOWN]]
    return {"left out": len(images.skips), "left out files": shown}


def our_rows(
    name: str, judged: Judged, leaks: leakage.Leakage, temperature: float, unknown: float | None
) -> dict[str, Mapping[str, float]]:
    """Figures of the encoder: one row, or one with and one without pictures that were in training."""
    if not leaks.leaks:
        return {name: figures(judged, temperature, unknown)}
    rows: dict[str, Mapping[str, float]] = {}
    rows[f"{name}, LEAKED pictures included"] = figures(judged, temperature, unknown)
    clean = leaks.clean_rows()
    if clean:
        rows[f"{name}, without leaked pictures"] = figures(judged.chosen(clean), temperature, unknown)
    return rows


def figures(judged: Judged, temperature: float, unknown: float | None = None) -> dict[str, float]:
    """Top-1, top-5 (of more than five classes), mean over classes, ECE as it is and fitted, all in per cent."""
    scores, truth = judged.scores, judged.truth
    predicted = scores.argmax(axis=1)
    found = {"top1": metrics.top_k(scores, truth, 1)}
    if scores.shape[1] > 5:
        found["top5"] = metrics.top_k(scores, truth, 5)
    found["macro"] = float(np.mean([100 * (predicted[truth == c] == c).mean() for c in np.unique(truth)]))
    found["ece"] = metrics.ece(_bins(judged, temperature))
    fitted = _fitted_confidence(judged)
    if fitted is not None:
        found["ece_fitted"] = metrics.ece(metrics.reliability(fitted, predicted == truth))
    if unknown is not None:
        sure = metrics.probabilities(scores, temperature).max(axis=1)
        ((_, share, accuracy),) = metrics.coverage(sure, predicted == truth, [unknown])
        found["coverage"] = share
        found["top1_known"] = accuracy if accuracy is not None else 0.0
    return found


def _bins(judged: Judged, temperature: float) -> list[metrics.Bin]:
    sure = metrics.probabilities(judged.scores, temperature).max(axis=1)
    return metrics.reliability(sure, judged.scores.argmax(axis=1) == judged.truth)


def _fitted_confidence(judged: Judged) -> Array | None:
    """Confidences with the temperature that fits the other half; None when one half is empty."""
    result = np.zeros(len(judged.truth))
    for fold in (0, 1):
        held, rest = judged.folds == fold, judged.folds != fold
        if not held.any() or not rest.any():
            return None
        temperature = metrics.fit_temperature(judged.scores[rest], judged.truth[rest])
        result[held] = metrics.probabilities(judged.scores[held], temperature).max(axis=1)
    return result


def _tables(
    judged: Judged, names: Sequence[str], temperature: float, unknown: float | None
) -> tuple[Ints, dict[str, list[dict[str, Any]]]]:
    """Counts of the confusion matrix, and the tables of a report."""
    predicted = judged.scores.argmax(axis=1)
    sure = metrics.probabilities(judged.scores, temperature).max(axis=1)
    correct = predicted == judged.truth
    if unknown is not None:
        predicted = np.where(sure >= unknown, predicted, -1)
    counts = metrics.confusion(judged.truth, predicted, len(names))
    tables = {
        "Per class": [_class_row(counts, names, i) for i in range(len(names))],
        "Confidence to give a class": [
            {"at least": threshold, "coverage": share, "top1 of these": accuracy}
            for threshold, share, accuracy in metrics.coverage(sure, correct, _THRESHOLDS)
        ],
        "Reliability": [asdict(b) for b in _bins(judged, temperature)],
        "Confusion": [
            {"true": names[i], **{text: int(n) for text, n in zip([*names, "unknown"], counts[i], strict=True)}}
            for i in range(len(names))
        ],
    }
    return counts, tables


def _class_row(counts: Ints, names: Sequence[str], i: int) -> dict[str, Any]:
    own, total, called = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
    wrong = counts[i].copy()
    wrong[i] = 0
    most = int(wrong.argmax())
    taken_for = [*names, "unknown"][most] if wrong[most] else ""
    return {
        "class": names[i],
        "pictures": total,
        "top1": 100 * own / total,
        "precision": 100 * own / called if called else None,
        "mostly taken for": taken_for,
    }
