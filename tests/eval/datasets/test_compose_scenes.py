"""Composed scenes: what lies where is what the queries say."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from colour_encoder import write_classes
from PIL import Image

from rsrag.errors import UsageError
from rsrag.eval.datasets.compose_scenes import BOTH, CAPTION, ONE, TWO, ComposedScene, compose
from rsrag.eval.datasets.images import ImageSet, read_captions, read_folders

TILE = 32


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return read_folders(write_classes(tmp_path_factory.mktemp("sets") / "colours"))


@pytest.fixture(scope="module")
def scenes(images: ImageSet) -> list[ComposedScene]:
    return list(compose(images, scenes=5, grid=4, seed=3))


def cells(scene: ComposedScene, kind: str) -> set[tuple[int, int]]:
    """Row and column of the targets of a query."""
    query = next(query for query in scene.queries if query.kind == kind)
    boxes = [region.bounds for region in query.regions]
    assert all((right - left, bottom - top) == (TILE, TILE) for left, top, right, bottom in boxes)
    return {(int(top) // TILE, int(left) // TILE) for left, top, _, _ in boxes}


def test_the_targets_are_all_tiles_of_the_class_asked_for(scenes: list[ComposedScene]) -> None:
    for scene in scenes:
        labels = {(r, c): label for r, row in enumerate(scene.layout) for c, label in enumerate(row)}
        for kind, count in ((ONE, 1), (TWO, 2)):
            query = next(query for query in scene.queries if query.kind == kind)
            where = {place for place, label in labels.items() if label == query.text}
            assert cells(scene, kind) == where and len(where) == count
            assert query.phrases[0] == query.text and f"a satellite image of {query.text}" in query.phrases
        assert cells(scene, BOTH) == cells(scene, ONE) | cells(scene, TWO)


def test_targets_do_not_touch_and_pictures_come_once(scenes: list[ComposedScene]) -> None:
    for scene in scenes:
        targets = list(cells(scene, BOTH))
        assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) > 1 for a in targets for b in targets if a != b)
        flat = [file for row in scene.files for file in row]
        wanted = [flat[r * 4 + c] for r, c in targets]
        assert len(set(wanted)) == 3 and all(flat.count(file) == 1 for file in wanted)


def test_every_tile_holds_its_picture(scenes: list[ComposedScene], images: ImageSet) -> None:
    scene = scenes[0]
    assert (scene.tile, scene.picture.shape, scene.picture.dtype) == (TILE, (4 * TILE, 4 * TILE, 3), np.uint8)
    for row, files in enumerate(scene.files):
        for col, file in enumerate(files):
            part = scene.picture[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
            with Image.open(images.root / file) as original:
                assert np.array_equal(part, np.asarray(original))


def test_the_classes_take_turns_and_the_seed_decides(scenes: list[ComposedScene], images: ImageSet) -> None:
    assert {scene.queries[0].text for scene in scenes} == set(images.labels)
    assert {scene.queries[1].text for scene in scenes} == set(images.labels)
    again = list(compose(images, scenes=5, grid=4, seed=3))
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(scenes, again, strict=True))
    other = next(compose(images, scenes=1, grid=4, seed=4))
    assert not np.array_equal(other.picture, scenes[0].picture)
    assert [a.name for a in again] == sorted(a.name for a in again) and all(a != b for a, b in pairwise(again))


def test_captions_are_asked_for_where_there_are_some(images: ImageSet, tmp_path: Path) -> None:
    rows = [{"file": i.file, "class": i.label, "captions": [f"a field that is {i.label}"]} for i in images.items]
    listing = tmp_path / "captions.json"
    listing.write_text(json.dumps(rows), encoding="utf-8")
    scene = next(compose(read_captions(images.root, listing), scenes=1, grid=3))
    query = next(query for query in scene.queries if query.kind == CAPTION)
    assert query.text == f"a field that is {scene.queries[0].text}" and query.phrases == (query.text,)
    assert query.regions == scene.queries[0].regions


def test_pictures_of_other_sizes_are_fitted(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "set", colours=("red", "green", "blue"))
    for path in sorted(root.glob("red/*.png")):
        with Image.open(path) as small:
            small.resize((90, 50)).save(path)
    scene = next(compose(read_folders(root), scenes=1, grid=3))
    assert scene.picture.shape == (3 * scene.tile, 3 * scene.tile, 3)


def test_what_makes_no_scenes(images: ImageSet) -> None:
    with pytest.raises(UsageError, match="need three"):
        next(compose(images.chosen(range(8)), scenes=1))
    with pytest.raises(UsageError, match="too small"):
        next(compose(images, scenes=1, grid=2))
    firsts = [images.labels.index(label) * 4 for label in images.labels]
    with pytest.raises(UsageError, match="two classes must have two"):
        next(compose(images.chosen(firsts), scenes=1))
