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
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
_SHOWN = 12
_PHOTO = re.compile(r"(?:_(?:sat|rgb|rgbir|irrg|image|img))+$", re.IGNORECASE)
_MAP = re.compile(r"_(?:mask|labels?|gt|target|m|instance)(?:_(?:color|rgb|noboundary))*$", re.IGNORECASE)
"""What public sets put after the common name of a picture and its label map."""
_CLASSES = '{"0": "building", "1": "water"}, or of colours {"255,0,0": "building"}'
Value = int | tuple[int, int, int]
"""What stands for a class in label maps: a number, or a colour (red, green, blue)."""
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture with its truth: masks by class, bool [H, W], and where the truth is known."""

    name: str
    picture: Picture
    truth: Mapping[str, Mask]
    known: Mask


def read_classes(path: Path) -> dict[Value, str]:
    """Values of label maps to words: a JSON object such as ``{"0": "building", "40": null}``; null is not asked for.

    Maps painted in colours have "red,green,blue" instead of numbers: ``{"255,0,0": "building"}``.

    Raises:
        UsageError: no such file, or another shape.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        found = {_value(value): str(words) for value, words in table.items() if words is not None}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"cannot read classes {path}: {error}", hint=_CLASSES) from error
    if not found or not all(words.strip() for words in found.values()):
        raise UsageError(f"{path} names no classes", hint=_CLASSES)
    if len({isinstance(value, int) for value in found}) > 1:
        raise UsageError(f"{path} has numbers and colours", hint="a label map holds the one or the other")
    return found


def _value(text: str) -> Value:
    if "," not in text:
        return int(text)
    red, green, blue = (int(part) for part in text.strip(" ()[]").split(","))
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"{text!r} is no colour of 8 bits")
    return red, green, blue


def _number(value: Value) -> int:
    """A class's number; of a colour one of 24 bits."""
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]


def _written(number: int, *, coloured: bool) -> str:
    return f"{number >> 16},{number >> 8 & 255},{number & 255}" if coloured else str(number)


def drawn(rows: Sequence[_Row], limit: int | None, seed: int) -> Sequence[_Row]:
    """At most so many of the rows, in their order, chosen by the seed."""
    if limit is None or len(rows) <= limit:
        return rows
    return [rows[n] for n in np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False)).tolist()]


def label_samples(
    images: Path,
    labels: Path,
    classes: Mapping[Value, str],
    context: Context,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> Iterator[Sample]:
    """Pictures with a label map of the same name, by name, each read when it is its turn.

    Endings do not count, nor what sets put after the name: ``119_sat.jpg`` and ``119_mask.png`` belong together, in two
    folders or in one.

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
    pairs, _ = _named_alike(images, labels)
    if not pairs:
        hint = "files of the same name that lie in the folders themselves, or ..._sat.jpg and ..._mask.png"
        raise UsageError(f"no picture of {images} has a label map in {labels}", hint=hint)
    coloured = any(not isinstance(value, int) for value in classes)
    numbers = [_number(value) for value in classes]
    fitting, others = False, set[int]()
    chosen = drawn(pairs, limit, seed)
    for image, label in chosen:
        picture, values = _picture(image, context), _label_map(label, coloured=coloured)
        if values.shape != picture.shape[:2]:
            raise UsageError(f"{label.name}: label map and picture differ in size")
        truth: dict[str, Mask] = {}
        for number, words in zip(numbers, classes.values(), strict=True):  # several values may have the same words
            own = np.asarray(values == number)
            truth[words] = truth[words] | own if words in truth else own
        known = np.isin(values, numbers)
        fitting = fitting or bool(known.any())
        if not fitting and len(others) < _SHOWN:
            others.update(np.unique(values)[:_SHOWN].tolist())
        yield Sample(image.name, picture, truth, known)
    if not fitting:
        held, asked = (
            " ".join(_written(number, coloured=coloured) for number in some[:_SHOWN])
            for some in (sorted(others), numbers)
        )
        what = f"none of {len(chosen)} pictures shows any of the classes"
        raise UsageError(what, hint=f"the label maps hold {held}; asked for were {asked}")


def _named_alike(images: Path, labels: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pictures with their label maps, by name, and the names of pictures that have none."""
    files = [path for path in sorted(labels.iterdir()) if _is_picture(path)]
    maps: dict[str, Path] = {}
    for path in files:
        if _MAP.search(path.stem):
            maps.setdefault(_MAP.sub("", path.stem), path)
    taken = frozenset(maps.values())
    if images.resolve() != labels.resolve():
        taken = frozenset()
        maps |= {path.stem: path for path in files}
    found, alone = [], []
    for path in sorted(images.iterdir()):
        if not _is_picture(path) or path in taken:
            continue
        label = maps.get(path.stem) or maps.get(_PHOTO.sub("", path.stem))
        if label is not None:
            found.append((path, label))
        else:
            alone.append(path.name)
    return found, alone


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _KINDS and not path.name.startswith(".")


def _label_map(path: Path, *, coloured: bool) -> npt.NDArray[np.int64]:
    """Class numbers: one channel, a palette's indices, or three equal channels; of colours those of :func:`_number`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened_map:
            values = np.asarray(opened_map.convert("RGB") if coloured else opened_map)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if coloured:
        return np.asarray(values.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]), dtype=np.int64)
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2:
        hint = 'one channel of class numbers; of colours, --classes says {"255,0,0": "building"}'
        raise UsageError(f"{path} is not a label map", hint=hint)
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
    chosen = drawn([one for one in listed if one[1] in rows], limit, seed)
    gone = [name for name, _ in chosen if not (images / name).is_file()]
    if gone:
        what = f"{len(gone)} of {len(chosen)} pictures of {coco.name} are not in {images}"
        raise UsageError(what, hint=f"the first is {gone[0]}; its path begins in the folder")
    for name, identity in chosen:
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
        return measure(samples, context, labelled=False, progress=progress or Silent())
    assert labels is not None and classes is not None
    samples = label_samples(images, labels, read_classes(classes), context, limit=limit, seed=seed)
    result = measure(samples, context, labelled=True, progress=progress or Silent())
    pairs, alone = _named_alike(images, labels)
    if not alone:
        return result
    told = f"{len(alone)} of {len(pairs) + len(alone)} pictures, the first is {alone[0]}"
    return replace(result, details={**result.details, "without a label map": told})


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
