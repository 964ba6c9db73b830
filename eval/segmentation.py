"""Suite "segmentation": masks of what a text names, against label maps or polygons of the user's own data.

Every class that a picture shows is asked for by its words, as in referring segmentation: that there is some is known,
where it is not. Measured are what ``rsrag segment`` answers for a picture without a scale (``shipped``: the pixel
decoder for the words it was trained on, else the refined heat map), and two answers from the heat map alone: the map
cut at the limit that the adapter chooses, and its refinement; the whole picture as answer stands beside them. Where
label maps name several classes, ``labelling`` gives every pixel the class of the highest heat. Bands beyond colours are
not used, since pictures have none. Pictures that the decoder was trained on are told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context
from rsrag.adapters.heat import HeatMapper
from rsrag.adapters.look import opened
from rsrag.adapters.segment import decoded as decoding
from rsrag.adapters.segment import refine
from rsrag.adapters.segment.rivals import rivals
from rsrag.config import resolve
from rsrag.errors import SourceError, UsageError
from rsrag.eval.datasets.polygons import by_picture, fill
from rsrag.eval.metrics.masks import Mask, Tally
from rsrag.eval.reports.result import SuiteResult
from rsrag.ingest.enrich import pixel_digest
from rsrag.models import pixelhead
from rsrag.models.base import Picture
from rsrag.models.registry import load_profile
from rsrag.progress import Progress, Silent

_KINDS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_LARGEST = 2048
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture with its truth: masks by class, bool [H, W], and where the truth is known."""

    name: str
    picture: Picture
    truth: Mapping[str, Mask]
    known: Mask


def read_classes(path: Path) -> dict[int, str]:
    """Values of label maps to words: a JSON object such as ``{"0": "building", "40": null}``; null is not asked for.

    Raises:
        UsageError: no such file, or another shape.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        found = {int(value): str(words) for value, words in table.items() if words is not None}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"cannot read classes {path}: {error}", hint='{"0": "building", "1": "water"}') from error
    if not found or not all(words.strip() for words in found.values()):
        raise UsageError(f"{path} names no classes", hint='{"0": "building", "1": "water"}')
    return found


def drawn(rows: Sequence[_Row], limit: int | None, seed: int) -> Sequence[_Row]:
    """At most so many of the rows, in their order, chosen by the seed."""
    if limit is None or len(rows) <= limit:
        return rows
    return [rows[n] for n in np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False)).tolist()]


def label_samples(
    images: Path,
    labels: Path,
    classes: Mapping[int, str],
    context: Context,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> Iterator[Sample]:
    """Pictures with a label map of the same name (any ending), by name, each read when it is its turn.

    Args:
        images: folder of pictures.
        labels: folder of label maps.
        classes: values to words.
        context: how pictures are read.
        limit: most pictures.
        seed: of their choice.

    Raises:
        UsageError: a folder is missing, no pair of files, or a label map of another size than its picture.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise UsageError(f"no folder {folder}")
    maps = {path.stem: path for path in sorted(labels.iterdir()) if path.suffix.lower() in _KINDS}
    pairs = [(p, maps[p.stem]) for p in sorted(images.iterdir()) if p.suffix.lower() in _KINDS and p.stem in maps]
    if not pairs:
        raise UsageError(f"no picture of {images} has a label map in {labels}", hint="files of the same name")
    for image, label in drawn(pairs, limit, seed):
        picture, values = _picture(image, context), _label_map(label)
        if values.shape != picture.shape[:2]:
            raise UsageError(f"{label.name}: label map and picture differ in size")
        truth: dict[str, Mask] = {}
        for value, words in classes.items():  # several values may have the same words
            own = np.asarray(values == value)
            truth[words] = truth[words] | own if words in truth else own
        yield Sample(image.name, picture, truth, np.isin(values, list(classes)))


def _label_map(path: Path) -> npt.NDArray[np.int64]:
    """Class numbers: one channel, a palette's indices, or three equal channels."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened_map:
            values = np.asarray(opened_map)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise UsageError(f"{path} is not a label map", hint="one channel of class numbers")
    return values.astype(np.int64)


def coco_samples(
    images: Path, coco: Path, context: Context, *, limit: int | None = None, seed: int = 0
) -> Iterator[Sample]:
    """Pictures with polygons in COCO's form, by the file's order; annotations without a polygon are left out.

    Args:
        images: folder of pictures.
        coco: annotations.
        context: how pictures are read.
        limit: most pictures.
        seed: of their choice.

    Raises:
        UsageError: no such files, not in that form, or no polygon at all.
    """
    try:
        table = json.loads(coco.read_text(encoding="utf-8"))
        rows = by_picture(table)
        listed = [(str(i["file_name"]), str(i["id"])) for i in table["images"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot read {coco}: {error!r}", hint="COCO annotations with polygons") from error
    if not rows:
        raise UsageError(f"no annotation of {coco} has a polygon", hint="segmentation: [[x, y, x, y, ...]]")
    for name, identity in drawn([one for one in listed if one[1] in rows], limit, seed):
        picture = _picture(images / name, context)
        shape = picture.shape[:2]
        truth: dict[str, npt.NDArray[np.uint8]] = {}
        for label, parts in rows[identity].items():
            truth[label] = np.zeros(shape, dtype=np.uint8)
            fill(truth[label], parts)
        yield Sample(name, picture, {c: m > 0 for c, m in truth.items()}, np.ones(shape, dtype=np.bool_))


def _picture(path: Path, context: Context) -> Picture:
    try:
        with opened(path, context) as view:
            if max(view.subject.width, view.subject.height) > _LARGEST:
                raise UsageError(f"{path.name} is larger than {_LARGEST} pixels", hint="cut it into chips")
            return view.picture()
    except SourceError as error:
        raise UsageError(f"{path}: {error.message}") from error


def run(
    images: Path,
    *,
    labels: Path | None = None,
    classes: Path | None = None,
    coco: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    profile: str | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Measure segmentation by words.

    Args:
        images: folder of pictures.
        labels: folder of label maps; with ``classes``.
        classes: JSON file, see :func:`read_classes`.
        coco: annotations with polygons, instead of label maps.
        limit: most pictures, chosen by ``seed``.
        seed: of the choice.
        profile: models to measure instead of the default ones.
        progress: told of every picture.

    Raises:
        UsageError: data that are missing or not in the form said.
    """
    if (coco is None) == (labels is None) or (labels is None) != (classes is None):
        raise UsageError("give --labels with --classes, or --coco")
    settings = resolve(None, {"profile": profile} if profile else {}).settings
    context = Context(load_profile(settings), settings)
    if coco is not None:
        samples = coco_samples(images, coco, context, limit=limit, seed=seed)
    else:
        assert labels is not None and classes is not None
        samples = label_samples(images, labels, read_classes(classes), context, limit=limit, seed=seed)
    return measure(samples, context, labelled=coco is None, progress=progress or Silent())


def measure(samples: Iterator[Sample], context: Context, *, labelled: bool, progress: Progress) -> SuiteResult:
    """Figures over samples, of which one at a time is held.

    Args:
        samples: pictures with their truth.
        context: with the models.
        labelled: whether the truth has a class for every pixel that is known, so that a labelling can be measured.
        progress: told of every picture.

    Raises:
        UsageError: no picture shows any of the classes.
    """
    mapper = HeatMapper(context)
    queries: dict[str, Any] = {}
    learned: dict[str, tuple[int, ...]] = {}
    count = seen = 0
    tallies = {name: Tally() for name in ("shipped", "refined", "heat map", "whole picture")}
    decoder = pixelhead.shipped()
    labelling = Tally()
    progress.start("segmentation", None, unit="pictures")
    for sample in samples:
        names = list(sample.truth)
        for name in (n for n in names if n not in queries):
            queries[name] = mapper.query(name, background=rivals(name))
            if (known := decoding.known_of(name, None)) is not None:
                learned[name] = tuple(decoding.numbers_of(known))
        heats = mapper.heats(sample.picture, [queries[name] for name in names])
        best = heats.argmax(axis=0)
        scores = (
            decoder.scores(sample.picture) if learned.keys() & {n for n in names if sample.truth[n].any()} else None
        )
        for row, name in enumerate(names):
            truth = sample.truth[name]
            if labelled:
                labelling.add(name, np.asarray(best == row), truth, sample.known)
            if not truth.any():
                continue
            counts = refine.Counts()
            counts.add(heats[row])
            middle = refine.middle_of(counts)
            refined = refine.refined(sample.picture, heats[row], middle)
            shipped = refined if scores is None or name not in learned else scores[list(learned[name])].max(axis=0)
            answers = {
                "shipped": np.asarray(shipped >= 0.5),
                "refined": refined >= 0.5,
                "heat map": refine.scored(heats[row], middle) >= 0.5,
                "whole picture": np.ones(truth.shape, dtype=np.bool_),
            }
            for method, found in answers.items():
                tallies[method].add(name, found, truth, sample.known)
        count += 1
        seen += pixel_digest(sample.picture)[: pixelhead.DIGITS] in decoder.trained_on
        progress.advance()
    progress.finish()
    if not tallies["refined"].single:
        hint = f"asked for were {', '.join(queries)}" if queries else None
        raise UsageError(f"none of {count} pictures shows any of the classes", hint=hint)
    table = {name: tally.figures() for name, tally in tallies.items()}
    if labelled:
        table["labelling (all classes)"] = labelling.figures()
    details = {
        "pictures": count,
        "masks": len(tallies["refined"].single),
        "encoder": mapper.fingerprint,
        "decoder": decoder.fingerprint,
        "IoU by class, shipped": {c: round(v, 3) for c, v in tallies["shipped"].by_class().items()},
        "IoU by class, refined": {c: round(v, 3) for c, v in tallies["refined"].by_class().items()},
        "IoU by class, heat map": {c: round(v, 3) for c, v in tallies["heat map"].by_class().items()},
    }
    if seen and learned:
        details["LEAKED"] = f"{seen} of {count} pictures were in the training of the decoder that “shipped” uses"
    return SuiteResult("segmentation", table["shipped"], table, details)
