"""Suite "detection": boxes, counts and referring expressions on labelled images of one's own, in COCO's form.

Average precision at IoU 0.5 and 0.7 in pixels (:mod:`rsrag.eval.metrics.boxes`), the error of counts, and the share
of generated expressions (:mod:`rsrag.eval.datasets.expressions`) whose first answer is the right box. The detector, the
heat map and given predictions, such as those of a cross-validation, are measured alike.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.ground import spatial
from rsrag.adapters.ground.adapter import refer
from rsrag.adapters.ground.find import Candidate, Finder, Found
from rsrag.adapters.ground.words import class_of, singular
from rsrag.adapters.look import opened
from rsrag.errors import BadModelFile, UsageError
from rsrag.eval.datasets.expressions import KINDS, expressions
from rsrag.eval.metrics import boxes as metrics
from rsrag.eval.reports.result import SuiteResult
from rsrag.models.boxes import Boxes, as_boxes, ious
from rsrag.models.groundhead import LEAST, ObjectDetector

METHODS = ("detector", "heat")
FIGURES = ("AP50", "AP70", "acc@0.5", "acc@0.7", "count_mae")
_DEFAULT = 0.3
_HEAT = 0.35
By = Mapping[str, Found]
"""Candidates by name of the class."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """An image with its true boxes by class."""

    key: str
    path: Path
    width: int
    height: int
    boxes: Mapping[str, Boxes]


def read_coco(data: Path, coco: Path) -> tuple[tuple[str, ...], list[Labelled]]:
    """Classes and images of a COCO file; crowds are left out.

    Args:
        data: folder with the images, or the folder above ``images``.
        coco: annotations.

    Raises:
        UsageError: not COCO, a box of an unknown image or class or with a corner that is no number, an id of two
            images, or no image of it in the folder.
    """
    names, found, _ = _read_coco(data, coco)
    return names, found


def _read_coco(data: Path, coco: Path) -> tuple[tuple[str, ...], list[Labelled], dict[str, str]]:
    """As :func:`read_coco`, and the images that are not in the folder: id → name."""
    try:
        table = json.loads(coco.read_text(encoding="utf-8"))
        names = {row["id"]: _class_name(row["name"]) for row in table["categories"]}
        own: dict[Any, list[tuple[str, list[float]]]] = {row["id"]: [] for row in table["images"]}
        for row in table["annotations"]:
            if not row.get("iscrowd"):
                own[row["image_id"]].append((names[row["category_id"]], list(_corners(row["bbox"]))))
        images = [(str(r["id"]), str(r["file_name"]), int(r["width"]), int(r["height"])) for r in table["images"]]
        rows = list(own.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "COCO: images (id, file_name, width, height), annotations (image_id, category_id, bbox), categories"
        raise UsageError(f"cannot read {coco}: {error!r}", hint=hint) from error
    if len(rows) < len(images):
        twice = Counter(key for key, *_ in images).most_common(1)[0][0]
        raise UsageError(f"{coco.name}: two images have the id {twice}", hint="an id belongs to one image")
    found, gone = [], dict[str, str]()
    for (key, name, width, height), boxes in zip(images, rows, strict=True):
        path = next((p for p in (data / name, data / "images" / name) if p.is_file()), None)
        if path is not None and path.resolve().is_relative_to(data.resolve()):
            by = {n: as_boxes([box for label, box in boxes if label == n]) for n in names.values()}
            found.append(Labelled(key, path, width, height, by))
        else:
            gone[key] = name
    if not found:
        first = f"the first is {next(iter(gone.values()))}; its path begins in the folder" if gone else None
        raise UsageError(f"none of the {len(images)} images of {coco.name} is in {data}", hint=first)
    return tuple(dict.fromkeys(names.values())), found, gone


def _corners(box: Any) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a box of COCO's form, in pixels.

    Raises:
        ValueError: not four finite numbers.
    """
    left, top, width, height = (float(v) for v in box)
    if not np.isfinite([left, top, width, height]).all():
        raise ValueError(f"the box {box} is not of finite numbers")
    return left, top, left + width, top + height


def _class_name(value: Any) -> str:
    """The name of a class as requests are read: in small letters, with single spaces."""
    return " ".join(str(value).replace("_", " ").split()).casefold()


def run(
    data: Path,
    coco: Path,
    context: Context,
    *,
    methods: Sequence[str] = METHODS,
    predictions: Path | None = None,
    only: Path | None = None,
    limit: int | None = None,
    most: int = 3,
    seed: int = 0,
) -> SuiteResult:
    """Measure.

    Args:
        data: folder with the images.
        coco: annotations.
        context: with the models.
        methods: "detector", "heat" or both; empty with ``predictions`` alone.
        predictions: boxes of another method, COCO's results form (``image_id``, ``category`` or ``category_id``,
            ``bbox``, ``score``).
        only: text file with ids of the images that are measured, one a line.
        limit: at most so many images, drawn with the seed.
        most: expressions an image.
        seed: of the expressions and the images.

    Raises:
        UsageError: files that cannot be read, or an unknown method.
    """
    if unknown := set(methods) - set(METHODS):
        raise UsageError(f"unknown method {sorted(unknown)[0]!r}", hint=f"one of {', '.join(METHODS)}")
    names, images, gone = _read_coco(data, coco)
    if only is not None:
        try:
            wanted = set(only.read_text(encoding="utf-8-sig").split())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {only}: {error}", hint="ids of images, one a line") from error
        images = [image for image in images if image.key in wanted]
        gone = {key: name for key, name in gone.items() if key in wanted}
    listed = len(images) + len(gone)
    if limit is not None and limit < len(images):
        chosen = np.sort(np.random.default_rng(seed).choice(len(images), limit, replace=False))
        images = [images[n] for n in chosen]
    if not images:
        raise UsageError("no image is left to measure")
    thresholds, models = _thresholds(names)
    tables: dict[str, dict[str, By]] = {}
    if predictions is not None:
        tables["given predictions"] = _given(predictions, coco, names, images)
    for method in methods:
        tables[method] = dict(_found(method, names, images, context))
    rows: dict[str, dict[str, float]] = {}
    classes: dict[str, dict[str, float]] = {}
    kinds: dict[str, dict[str, float]] = {}
    for method, found in tables.items():
        least = dict.fromkeys(names, _HEAT) if method == "heat" else thresholds
        rows[method], classes[method], kinds[method] = measure(names, images, found, least, most=most, seed=seed)
    first = next(iter(rows))
    count = sum(len(expressions(i.boxes, i.width, i.height, most=most, seed=[seed, n])) for n, i in enumerate(images))
    details = {
        "images": len(images), "boxes": sum(len(b) for i in images for b in i.boxes.values()), "expressions": count,
        "AP50 by class": classes, "acc@0.5 by kind": kinds, "models": {**context.fingerprints(), **models},
        "seed": seed,
    }  # fmt: skip
    if gone:
        details["not in the folder"] = f"{len(gone)} of {listed} images, the first is {next(iter(gone.values()))}"
    return SuiteResult("detection", rows[first], rows, details)


def measure(
    names: Sequence[str],
    images: Sequence[Labelled],
    found: Mapping[str, By],
    least: Mapping[str, float],
    *,
    most: int = 3,
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Figures of one method, its AP50 by class, and its accuracy at 0.5 by kind of expression.

    Args:
        names: of the classes.
        images: with true boxes.
        found: candidates by image and class.
        least: score from which a candidate counts, by class; average precision uses all.
        most: expressions an image.
        seed: of the expressions.
    """
    precision: dict[float, dict[str, float]] = {0.5: {}, 0.7: {}}
    for name in names:
        truth = {image.key: image.boxes[name] for image in images}
        given = {image.key: _as_found(found[image.key][name]) for image in images}
        for threshold, table in precision.items():
            value = metrics.average_precision(given, truth, threshold)
            if value is not None:
                table[name] = value
    counts, overlaps = [], []
    by_kind: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number, image in enumerate(images):
        kept = {name: _above(found[image.key][name], least[name]) for name in names}
        counts += [
            (len(kept[name].candidates), len(image.boxes[name]))
            for name in names
            if len(image.boxes[name]) or kept[name].candidates
        ]
        for said in expressions(image.boxes, image.width, image.height, most=most, seed=[seed, number]):
            target = image.boxes[said.name][said.row : said.row + 1]
            overlap = _answer(said.text, kept, target, (image.width, image.height))
            overlaps.append(overlap)
            by_kind[said.kind].append(overlap)
    figures = {
        "AP50": float(np.mean(list(precision[0.5].values()))) if precision[0.5] else 0.0,
        "AP70": float(np.mean(list(precision[0.7].values()))) if precision[0.7] else 0.0,
        "acc@0.5": metrics.accuracy_at(overlaps, 0.5),
        "acc@0.7": metrics.accuracy_at(overlaps, 0.7),
        "count_mae": metrics.count_error(counts),
    }
    rounded = {name: round(value, 4) for name, value in precision[0.5].items()}
    return figures, rounded, {k: round(metrics.accuracy_at(v, 0.5), 4) for k, v in by_kind.items() if v}


def _answer(text: str, kept: By, target: Boxes, size: tuple[int, int]) -> float:
    """IoU of the first answer to an expression with the box that it means; 0 without an answer."""
    expression = spatial.parse(text)

    def find(phrase: str) -> Found:
        wanted = singular(phrase)
        return kept.get(wanted) or kept.get(phrase) or Found("", phrase, ())

    chosen, _ = refer(expression, find(expression.target), find, size)
    return float(ious(as_boxes(chosen[0].box), target)[0, 0]) if chosen else 0.0


def _above(found: Found, least: float) -> Found:
    return Found(found.method, found.name, tuple(c for c in found.candidates if c.score >= least))


def _as_found(found: Found) -> metrics.Found:
    return metrics.Found(
        as_boxes([c.box for c in found.candidates]), np.array([c.score for c in found.candidates], dtype=np.float64)
    )


def _found(method: str, names: Sequence[str], images: Sequence[Labelled], context: Context) -> Iterator[tuple[str, By]]:
    """Candidates of a method for every class of every image."""
    if method == "detector":
        unknown = [name for name in names if class_of(name) is None]
        if len(unknown) == len(names):
            raise UsageError(f"the detector knows none of {', '.join(names[:8])}", hint="--method heat")
    context.progress.start(method, len(images), unit="images")
    for image in images:
        with opened(image.path, context) as view:
            finder = Finder(view, context, LEAST if method == "detector" else None, method)
            known = {
                name: finder.find(name) if method == "heat" or class_of(name) else Found(method, name, ())
                for name in names
                if method == "detector" or len(image.boxes[name])
            }
        yield image.key, {name: known.get(name, Found(method, name, ())) for name in names}
        context.progress.advance()
    context.progress.finish()


def _thresholds(names: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """The shipped detector's thresholds for classes that it knows, and its fingerprint."""
    try:
        detector = ObjectDetector()
    except BadModelFile:
        return dict.fromkeys(names, _DEFAULT), {}
    own = dict(zip(detector.classes, detector.thresholds, strict=True))
    table = {}
    for name in names:
        known = class_of(name)
        table[name] = own.get(known.classes[0], _DEFAULT) if known is not None else _DEFAULT
    return table, {"detector": detector.fingerprint}


def _given(path: Path, coco: Path, names: Sequence[str], images: Sequence[Labelled]) -> dict[str, By]:
    """Candidates of a file in COCO's results form."""
    boxes: dict[str, dict[str, list[Candidate]]] = {i.key: {name: [] for name in names} for i in images}
    try:
        table = json.loads(coco.read_text(encoding="utf-8"))
        categories = {row["id"]: row["name"] for row in table["categories"]}
        every = {str(row["id"]) for row in table["images"]}
        for row in json.loads(path.read_text(encoding="utf-8")):
            name, key = _class_name(row.get("category") or categories[row["category_id"]]), str(row["image_id"])
            if key not in every:
                raise ValueError(f"{coco.name} has no image {key}")
            score = float(row["score"])
            if not np.isfinite(score):
                raise ValueError(f"the score {score} of a box of image {key}")
            own = boxes.get(key, {}).get(name)
            if own is not None:
                own.append(Candidate(_corners(row["bbox"]), score, None, name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot read {path}: {error!r}", hint="a list of image_id, category, bbox, score") from error
    return {
        key: {n: Found("given", n, tuple(sorted(own[n], key=lambda c: -c.score))) for n in names}
        for key, own in boxes.items()
    }
