"""Few-shot: labelled pictures move the class vectors from where words put them to where the user's pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.look import opened
from rsrag.errors import SourceError, UsageError
from rsrag.ingest.readers.base import ReadOptions
from rsrag.models.base import Picture, Vectors
from rsrag.models.turns import vectors_of
from rsrag.models.vectors import unit
from rsrag.words import fold

PRIOR = 4.0
"""How many pictures a class's words count for (Snell et al. 2017 give them none, zero-shot all)."""
_RASTERS = (".tif", ".tiff", ".jp2")
_SUFFIXES = (".png", ".jpg", ".jpeg", *_RASTERS)
_MOST = 2000
"""Pictures of a class that are looked at."""
_BATCH = 32
"""Pictures that are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled pictures.

    Attributes:
        labels: the classes.
        counts: pictures of each.
        prototypes: mean vector of each, unit length, float32 [C, dim].
        skipped: what was left out, with the reason: pictures beyond the most that are looked at, unusable files.
    """

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    prototypes: Vectors
    skipped: tuple[str, ...] = ()


def class_folders(folder: Path) -> list[tuple[str, Path]]:
    """The folders in a folder, each with the label that its name is; hidden ones are no classes.

    Raises:
        UsageError: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", hint="one folder a class, with pictures in it")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise UsageError(f"no class folders in {folder}", hint="one folder a class, with pictures in it")
    return [(path.name.replace("_", " "), path) for path in found]


def read_examples(folder: Path, context: Context, turns: int, *, options: ReadOptions | None = None) -> Examples:
    """One folder a class; the folder's name is the label.

    Args:
        folder: with the folders.
        context: with the encoder.
        turns: of every picture, whose vectors are averaged.
        options: band mapping of rasters (TIFF, JPEG 2000): they are thought to be like the image that is classified.

    Raises:
        UsageError: no folder, no classes, or a class without a usable picture.
    """
    labels, counts, rows = list[str](), list[int](), list[Vectors]()
    beyond, unusable = list[str](), list[str]()
    for label, own in class_folders(folder):
        paths = sorted(p for p in own.rglob("*") if p.suffix.lower() in _SUFFIXES)
        if (more := len(paths) - _MOST) > 0:
            beyond.append(f"{own.name}: {more:,} picture{'s' if more > 1 else ''} beyond the first {_MOST:,}")
        total, count = np.zeros(context.profile.image.dim, dtype=np.float64), 0
        for start in range(0, min(len(paths), _MOST), _BATCH):
            batch = paths[start : min(start + _BATCH, _MOST)]
            pictures = _pictures(batch, own, context, options, unusable)
            if pictures:
                total += vectors_of(context.profile.image, pictures, turns).sum(axis=0)
                count += len(pictures)
        if not count:
            raise UsageError(f"no usable picture in {own}")
        labels.append(label)
        counts.append(count)
        rows.append((total / count).astype(np.float32))
    return Examples(tuple(labels), tuple(counts), unit(np.stack(rows)), (*beyond, *unusable))


def _pictures(
    paths: Sequence[Path], own: Path, context: Context, options: ReadOptions | None, unusable: list[str]
) -> list[Picture]:
    """The usable pictures among files of a class's folder; why others are not is added to ``unusable``."""
    pictures = []
    for path in paths:
        try:
            raster = path.suffix.lower() in _RASTERS
            with opened(path, context, options=options if raster else None) as view:
                pictures.append(view.seen(longest=512)[0])
        except SourceError as error:
            unusable.append(f"{own.name}/{path.name}: {error.message}")
    return pictures


def shown_rows(examples: Examples, labels: Sequence[str]) -> dict[int, int]:
    """Which row of the prototypes belongs to which label, for labels that have pictures."""
    rows = {fold(label): number for number, label in enumerate(examples.labels)}
    return {number: rows[fold(label)] for number, label in enumerate(labels) if fold(label) in rows}


def blended(words: Vectors, examples: Examples, labels: Sequence[str]) -> Vectors:
    """Class vectors from words and pictures: ``(PRIOR · words + k · prototype) / (PRIOR + k)``.

    Words and pictures of CLIP-like models lie apart: over the classes that have pictures, both are centred and brought
    to one spread, blended, and put back where the words lie. So the temperature still fits, and classes without
    pictures keep their words and their chance.

    Args:
        words: float32 [C, dim], unit length.
        examples: of at least two of the labels.
        labels: the C classes.

    Raises:
        UsageError: pictures of fewer than two of the labels, from which nothing can be told apart.
    """
    rows = shown_rows(examples, labels)
    if len(rows) < 2:
        raise UsageError(
            f"examples of {len(rows)} of the labels", hint="folders named like the labels, two or more of them"
        )
    result = words.copy()
    at, of = list(rows), list(rows.values())
    middle = words[at].mean(axis=0)
    named, shown = words[at] - middle, examples.prototypes[of] - examples.prototypes[of].mean(axis=0)
    shown *= np.linalg.norm(named, axis=1).mean() / np.maximum(np.linalg.norm(shown, axis=1, keepdims=True), 1e-9)
    count = np.array(examples.counts, dtype=np.float32)[of, None]
    result[at] = middle + (PRIOR * named + count * shown) / (PRIOR + count)
    return result
