"""Scenes with a known layout: tiles of labelled pictures laid into mosaics, with queries whose answers are known.

In every scene one class has one tile, a second class has two, and all other tiles belong to neither. The queries are
the first class, the second class (two targets), both in one sentence (three targets), and, where the pictures have
captions, the first caption of the single target. Everything follows from the set, the numbers and the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import cv2
import numpy as np
import shapely

from rsrag.errors import UsageError
from rsrag.eval.datasets.images import ImageSet
from rsrag.models.base import Picture
from rsrag.train.prompts import TEMPLATES

ONE, TWO, BOTH, CAPTION = "one target", "two targets", "two classes", "caption"
KINDS = (ONE, TWO, BOTH, CAPTION)
CRS = "EPSG:32631"
_WEST, _NORTH = 500_000.0, 5_000_000.0


@dataclass(frozen=True, slots=True)
class SceneQuery:
    """A text and where in a scene it is true.

    Attributes:
        text: as shown.
        phrases: sentences whose mean vector stands for it.
        regions: in scene pixels, x to the right, y down.
        kind: what sort of query it is, for figures by kind.
    """

    text: str
    phrases: tuple[str, ...]
    regions: tuple[shapely.Polygon, ...]
    kind: str = "query"


@dataclass(frozen=True, slots=True, eq=False)
class ComposedScene:
    """A mosaic.

    Attributes:
        name: "scene-01" and so on.
        picture: uint8 [grid · tile, grid · tile, 3].
        tile: side of a tile in pixels.
        layout: labels row by row.
        files: which picture lies where, row by row.
        queries: with their answers.
    """

    name: str
    picture: Picture
    tile: int
    layout: tuple[tuple[str, ...], ...]
    files: tuple[tuple[str, ...], ...]
    queries: tuple[SceneQuery, ...]


def compose(images: ImageSet, *, scenes: int, grid: int = 4, seed: int = 0) -> Iterator[ComposedScene]:
    """Lay pictures of a set into scenes, one after the other.

    Args:
        images: pictures with labels, of three classes at least.
        scenes: how many; the classes take turns in being looked for.
        grid: tiles in a row and in a column.
        seed: of all choices.

    Raises:
        UsageError: fewer than three classes, a class of one picture that two tiles are needed of, or too small a grid.
        SourceError: a picture cannot be read any more.
    """
    labels = images.labels
    if len(labels) < 3:
        raise UsageError(f"{images.name} has {len(labels)} classes, scenes need three", hint="name another folder")
    if grid < 3:
        raise UsageError(f"a grid of {grid}×{grid} tiles is too small", hint="3 or more")
    rows = {label: [i for i, item in enumerate(images.items) if item.label == label] for label in labels}
    several = [label for label in labels if len(rows[label]) > 1]
    if len(several) < 2:
        raise UsageError(f"{images.name}: two classes must have two pictures or more")
    rng = np.random.default_rng(seed)
    order = [str(label) for label in rng.permutation(labels)]
    pairs = [label for label in (*order[1:], order[0]) if label in several]
    used: Counter[str] = Counter()
    for number in range(scenes):
        single = order[number % len(order)]
        double = min((label for label in pairs if label != single), key=lambda label: used[label])
        used[double] += 1
        yield _scene(f"scene-{number + 1:02d}", images, rows, (single, double), grid, rng)


def _scene(
    name: str,
    images: ImageSet,
    rows: dict[str, list[int]],
    wanted: tuple[str, str],
    grid: int,
    rng: np.random.Generator,
) -> ComposedScene:
    single, double = wanted
    places = _places(grid, rng)
    others = [label for label in rows if label not in wanted]
    labels = [""] * grid**2
    labels[places[0]], labels[places[1]], labels[places[2]] = single, double, double
    chosen = [0] * grid**2
    for label in wanted:
        spots = [i for i, given in enumerate(labels) if given == label]
        for spot, row in zip(spots, rng.choice(rows[label], len(spots), replace=False), strict=True):
            chosen[spot] = int(row)
    for spot, label in enumerate(labels):
        if not label:
            labels[spot] = str(rng.choice(others))
            left = [row for row in rows[labels[spot]] if row not in chosen] or rows[labels[spot]]
            chosen[spot] = int(rng.choice(left))
    pictures = [picture for batch in images.chosen(chosen).batches() for picture in batch]
    tile = 2 * max(1, median_low(min(p.shape[:2]) for p in pictures) // 2)
    mosaic = np.concatenate([np.concatenate(row, axis=1) for row in _grid([_fit(p, tile) for p in pictures], grid)])
    at = [_outline(place, grid, tile) for place in places]
    said = images.words
    queries = [
        SceneQuery(said[single], _phrases(said[single]), (at[0],), ONE),
        SceneQuery(said[double], _phrases(said[double]), (at[1], at[2]), TWO),
        SceneQuery(both := f"{said[single]} and {said[double]}", _phrases(both), tuple(at), BOTH),
    ]
    captions = images.items[chosen[places[0]]].captions
    if captions:
        queries.append(SceneQuery(captions[0], (captions[0],), (at[0],), CAPTION))
    files = [images.items[row].file for row in chosen]
    layout, names = (tuple(tuple(row) for row in _grid(values, grid)) for values in (labels, files))
    return ComposedScene(name, mosaic, tile, layout, names, tuple(queries))


def _places(grid: int, rng: np.random.Generator) -> list[int]:
    """Three places, no two of them neighbours."""
    while True:
        places = [int(place) for place in rng.choice(grid**2, 3, replace=False)]
        spots = [divmod(place, grid) for place in places]
        if all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) > 1 for a, b in zip(spots, [*spots[1:], spots[0]], strict=True)):
            return places


def _grid(values: Sequence[Any], grid: int) -> list[Sequence[Any]]:
    """A flat list as rows."""
    return [values[row * grid : (row + 1) * grid] for row in range(grid)]


def _fit(picture: Picture, side: int) -> Picture:
    """The middle square of a picture, resized."""
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = picture[top : top + short, left : left + short]
    if short == side:
        return square
    how = cv2.INTER_AREA if short > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (side, side), interpolation=how), dtype=np.uint8)


def _outline(place: int, grid: int, tile: int) -> shapely.Polygon:
    row, col = divmod(place, grid)
    return shapely.box(col * tile, row * tile, (col + 1) * tile, (row + 1) * tile)


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(template.format(text) for template in TEMPLATES)


def write_scene(scene: ComposedScene, folder: Path, metres: float = 1.0) -> Path:
    """Write a scene as a GeoTIFF at an invented position, and its queries beside it; returns the GeoTIFF.

    Args:
        scene: what to write.
        folder: created if it is not there.
        metres: side of a pixel.

    Raises:
        UsageError: a file cannot be written.
    """
    from rsrag.eval.datasets.selo_queries import write_queries
    from rsrag.export_raster import write_picture_raster

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
    path = folder / f"{scene.name}.tif"
    transform = (metres, 0.0, _WEST, 0.0, -metres, _NORTH)
    tags = {"DESCRIPTION": "composed of labelled pictures; the position is invented"}
    write_picture_raster(path, scene.picture, CRS, transform, tags=tags)
    write_queries(folder / f"{scene.name}.json", scene.queries, transform)
    return path
