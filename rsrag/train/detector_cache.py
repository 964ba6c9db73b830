"""Maps of pictures with boxes, computed once by the frozen encoder, projected, and kept in float16 on disk."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import UsageError
from rsrag.models.base import Picture
from rsrag.models.boxes import Boxes, as_boxes
from rsrag.models.dense import DenseEncoder
from rsrag.models.groundviews import CELL, LEVELS, Level, views
from rsrag.train.augment import turned

Maps = Mapping[str, Any]
_SAMPLED, _PICTURES = 160, 96


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A picture with its boxes.

    Attributes:
        key: names it in the cache.
        member: file name below the images.
        width: in pixels.
        height: in pixels.
        boxes: left, top, right, bottom, [N, 4].
        labels: position in the list of classes, [N].
    """

    key: str
    member: str
    width: int
    height: int
    boxes: Boxes
    labels: npt.NDArray[np.int64]

    def turned(self, turn: int) -> Labelled:
        """The boxes in the picture after :func:`rsrag.train.augment.turned`."""
        boxes, width, height = self.boxes, self.width, self.height
        if turn >= 4:
            boxes = np.column_stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]])
        for _ in range(turn % 4):
            boxes = np.column_stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]])
            width, height = height, width
        return Labelled(self.key, self.member, width, height, boxes, self.labels)


def turn_of(key: str, view: int) -> int:
    """The turn that a view shows: none for view 0, else one drawn for the picture."""
    return 0 if view == 0 else 1 + int(np.random.default_rng([view, int(key)]).integers(7))


def read_coco(archive: Path, member: str = "annotations.json") -> tuple[tuple[str, ...], list[Labelled]]:
    """Classes and pictures of a zip in COCO's form (``images/`` beside ``annotations.json``).

    Raises:
        UsageError: no such file, or not in that form.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            table = json.loads(opened.read(member))
        names = {entry["id"]: str(entry["name"]).replace("_", " ") for entry in table["categories"]}
        order = {identity: place for place, identity in enumerate(sorted(names))}
        by_image: dict[Any, list[Any]] = {}
        for row in table["annotations"]:
            by_image.setdefault(row["image_id"], []).append(row)
        found = []
        for image in table["images"]:
            own = by_image.get(image["id"], [])
            corners = as_boxes([row["bbox"] for row in own])
            corners[:, 2:] += corners[:, :2]
            labels = np.array([order[row["category_id"]] for row in own], dtype=np.int64)
            size = int(image["width"]), int(image["height"])
            found.append(Labelled(str(image["id"]), str(image["file_name"]), *size, corners, labels))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"cannot read {archive}: {error!r}", hint="a zip with images/ and annotations.json") from error
    return tuple(names[identity] for identity in sorted(names)), found


def read_picture(opened: zipfile.ZipFile, member: str) -> Picture:
    """A picture of an archive, uint8 RGB [H, W, 3]."""
    from PIL import Image

    with Image.open(io.BytesIO(opened.read(member))) as image:
        return np.asarray(image.convert("RGB"))


def gathered(values: npt.NDArray[np.float32], level: Level) -> npt.NDArray[np.float32]:
    """A level on a grid no finer than that of cells: 2×2 cells become four times the channels."""
    step = max(1, CELL // level.stride)
    channels, rows, cols = values.shape
    split = values.reshape(channels, rows // step, step, cols // step, step)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 1, 3).reshape(channels * step**2, rows // step, cols // step))


def learn_projection(encoder: DenseEncoder, pictures: Sequence[Picture], seed: int = 0) -> dict[str, Any]:
    """Principal components of each level over unlabelled pictures, scaled so that weak ones are heard too.

    Returns:
        ``LEVEL.weight`` float32 [kept, channels] and ``LEVEL.mean`` float32 [channels].
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[npt.NDArray[np.float32]]] = {level.name: [] for level in LEVELS}
    for picture in pictures:
        found = views(encoder, picture)
        for level in LEVELS:
            flat = gathered(found[level.name], level)
            flat = flat.reshape(len(flat), -1).T
            chosen = rng.choice(len(flat), _SAMPLED, replace=False) if len(flat) > _SAMPLED else slice(None)
            rows[level.name].append(flat[chosen])
    made: dict[str, Any] = {}
    for level in LEVELS:
        values = np.concatenate(rows[level.name]).astype(np.float64)
        mean = values.mean(axis=0)
        size, axes = np.linalg.eigh(np.cov((values - mean).T))
        best = np.argsort(-size)[: level.kept]
        scale = (np.maximum(size[best], 1e-9) * size.mean()) ** -0.25
        made[f"{level.name}.weight"] = np.ascontiguousarray((axes[:, best] * scale).T, dtype=np.float32)
        made[f"{level.name}.mean"] = mean.astype(np.float32)
    return made


def projected(encoder: DenseEncoder, picture: Picture, projection: Maps) -> dict[str, npt.NDArray[np.float16]]:
    """The levels of a picture after the projection, float16 [kept, rows, cols]."""
    found = views(encoder, picture)
    made = {}
    for level in LEVELS:
        values = gathered(found[level.name], level) - projection[f"{level.name}.mean"][:, None, None]
        made[level.name] = np.tensordot(projection[f"{level.name}.weight"], values, axes=1).astype(np.float16)
    return made


def fill(
    archive: Path, rows: Sequence[Labelled], views_wanted: int, unlabelled: Path, cache: Path, workers: int = 1
) -> dict[str, Any]:
    """Compute what the cache lacks; an interrupted run goes on.

    Args:
        archive: zip with ``images/``.
        rows: its pictures.
        views_wanted: views of each picture: the first as it is, others turned.
        unlabelled: zip of pictures that the projection is learned from (those below ``train/``).
        cache: folder.
        workers: processes.

    Returns:
        The projection.
    """
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / "projection.npz"
    if not file.exists():
        with zipfile.ZipFile(unlabelled) as opened:
            kinds = (".png", ".jpg", ".tif")
            names = sorted(n for n in opened.namelist() if "/train/" in f"/{n}" and n.lower().endswith(kinds))
            if not names:
                raise UsageError(f"no pictures below train/ in {unlabelled}")
            chosen = np.random.default_rng(0).choice(len(names), min(_PICTURES, len(names)), replace=False)
            pictures = [read_picture(opened, names[n]) for n in chosen]
        _save(file, learn_projection(DenseEncoder(), pictures))
    wanted = [(row, view) for view in range(views_wanted) for row in rows if not _path(cache, row, view).exists()]
    work = partial(_fill, archive, cache)
    if workers > 1 and len(wanted) > workers:
        shares = [wanted[n::workers] for n in range(workers)]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            list(pool.map(work, shares))
    else:
        work(wanted)
    return read(file)


def _fill(archive: Path, cache: Path, wanted: Sequence[tuple[Labelled, int]]) -> None:
    projection, encoder = read(cache / "projection.npz"), DenseEncoder()
    with zipfile.ZipFile(archive) as opened:
        for row, view in wanted:
            picture = turned(read_picture(opened, f"images/{row.member}"), turn_of(row.key, view))
            _save(_path(cache, row, view), projected(encoder, picture, projection))


def _path(cache: Path, row: Labelled, view: int) -> Path:
    return cache / f"{row.key}_{view}.npz"


def _save(path: Path, arrays: Maps) -> None:
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    with partial_path.open("wb") as stream:
        np.savez(stream, **arrays)
    partial_path.replace(path)


def read(path: Path) -> dict[str, Any]:
    """The arrays of a file of the cache."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def load(cache: Path, row: Labelled, view: int) -> tuple[Labelled, dict[str, Any]]:
    """A picture's boxes and projected levels as a view shows them."""
    return row.turned(turn_of(row.key, view)), read(_path(cache, row, view))
