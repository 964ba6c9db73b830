"""Near-duplicates form the same groups however the work is cut into commits."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from rsrag.catalog import Catalog, TileRow
from rsrag.ingest.groups import NEAR_BITS, Grouper
from rsrag.types import Scene, Tile, Window

SCENE = Scene("scene", "/data/scene.tif", "digest", "c", 1000, 1000, ())
Look = tuple[int, str]
"""Perceptual hash and digest of a tile."""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.sqlite") as opened:
        yield opened


def group_all(catalog: Catalog, looks: Sequence[Look], commits: Sequence[bool], together: int = 1) -> list[str]:
    """The group of each tile when those up to a True are committed before the next one comes."""
    catalog.save_scene(SCENE, SCENE.source)
    grouper, groups, pending = Grouper(catalog), [], []
    waiting: list[tuple[str, int, str]] = []
    for number, ((phash, digest), commit) in enumerate(zip(looks, commits, strict=True)):
        waiting.append((f"tile-{number:02d}", phash, digest))
        if not commit and len(waiting) < together:
            continue
        for tile, group in zip(waiting, grouper.groups_of(waiting), strict=True):
            groups.append(group)
            place = Window(len(groups), 0, 1, 1)
            made = Tile(tile[0], SCENE.id, place, 1.0, tile[2], tile[1], group=group)
            pending.append(TileRow(made, np.ones(2, np.float32), "model"))
        waiting = []
        if commit:
            catalog.save_tiles(SCENE.id, pending)
            grouper.committed()
            pending = []
    return [*groups, *grouper.groups_of(waiting)]


def test_the_first_tile_stands_for_those_that_look_the_same(catalog: Catalog) -> None:
    base = 0xF0F0_F0F0_F0F0_F0F0
    looks = [
        (base, "a"),
        (base ^ 0b1111, "b"),  # four bits away from the first
        (base ^ 0b1_1111, "c"),  # five from the first, one from the second, which stands for no group
        (base ^ 0b1_1101, "d"),  # four from the first, one from the third
        (base, "a"),  # the pixels of the first
        (~base & (2**64 - 1), "e"),
    ]
    assert group_all(catalog, looks, [False] * 6) == ["tile-00", "tile-00", "tile-02", "tile-02", "tile-00", "tile-05"]


def test_among_equals_the_smallest_id_is_taken(catalog: Catalog) -> None:
    looks = [(0b0000_0000, "a"), (0b0011_1111, "b"), (0b0000_0111, "c")]
    assert group_all(catalog, looks, [False, False, False])[2] == "tile-00"


@pytest.mark.parametrize("seed", range(4))
def test_commits_do_not_change_groups(seed: int, catalog: Catalog) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        # Hashes that are often near each other: they differ in seven bits. Equal pixels have equal hashes, but equal
        # hashes may have different pixels.
        looks = [(phash, f"{phash}-{rng.randrange(2)}") for phash in rng.choices(range(2**7), k=14)]
        some = [rng.random() < 0.3 for _ in looks]
        found = []
        for commits, together in (([False] * len(looks), 1), (some, 1), ([True] * len(looks), 1), (some, 5)):
            found.append(group_all(catalog, looks, commits, together))
            catalog.remove_source(SCENE.source)
        assert found[0] == found[1] == found[2] == found[3]
        assert len(set(found[0])) < len(looks)


def test_equal_pixels_count_more_than_a_nearer_tile_that_is_not_committed(tmp_path: Path) -> None:
    looks = [(0, "head"), (0b111, "member"), (0b1_1111, "other head"), (0b111, "member")]
    assert (0b111 ^ 0b1_1111).bit_count() < (0b111).bit_count() <= NEAR_BITS < (0b1_1111).bit_count()
    for number, commits in enumerate(([False] * 4, [False, True, False, False], [True] * 4)):
        with Catalog.open(tmp_path / f"{number}.sqlite") as catalog:
            assert group_all(catalog, looks, commits)[3] == "tile-00"
