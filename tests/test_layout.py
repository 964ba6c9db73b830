"""Layouts find the tile that a turned and shifted picture lies on, whatever its colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from ground import cut, ground
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag import layout
from rsrag.layout import LENGTH, layout_of_image, likeness, poses

SIDE = 256


def tiles(picture: np.ndarray, step: int = 128) -> tuple[np.ndarray, list[tuple[int, int]]]:
    spots = [(x, y) for y in range(0, 513, step) for x in range(0, 513, step)]
    return np.stack([layout.layout(picture[y : y + SIDE, x : x + SIDE]) for x, y in spots]), spots


@settings(max_examples=6, deadline=None)
@given(
    x=st.floats(200, 568),
    y=st.floats(200, 568),
    angle=st.floats(0, 6.28),
    side=st.floats(215, 256),
    seed=st.integers(0, 3),
)
def test_the_best_tile_holds_most_of_the_query(x: float, y: float, angle: float, side: float, seed: int) -> None:
    picture = ground(seed)
    layouts, spots = tiles(picture)
    query = 255 - cut(picture, (x, y), angle, side)  # light has become dark
    best = spots[int(likeness(poses(query), layouts).argmax())]
    assert abs(best[0] + 128 - x) < 128
    assert abs(best[1] + 128 - y) < 128


@pytest.mark.parametrize("share", [0.62, 1.37])
def test_a_query_of_another_size_is_found_at_that_size(share: float) -> None:
    picture = ground(5)
    layouts, spots = tiles(picture)
    query = cut(picture, (384, 384), 0.4, SIDE * share)
    alike = likeness(poses(query, (share,)), layouts)
    assert spots[int(alike.argmax())] == (256, 256)
    assert alike.max() > likeness(poses(query), layouts).max()


def test_a_picture_keeps_its_proportions() -> None:
    picture = ground(6)
    layouts, spots = tiles(picture)
    wide = picture[384 - 90 : 384 + 90, 384 - 140 : 384 + 140]
    assert spots[int(likeness(poses(wide, (159 / 256,)), layouts).argmax())] == (256, 256)


def test_the_same_picture_is_entirely_alike() -> None:
    picture = ground(7, SIDE)
    alike = likeness(poses(picture, (1.0,)), layout.layout(picture)[None])
    assert alike.dtype == np.float32
    assert alike[0] == pytest.approx(1.0, abs=0.02)


def test_nothing_to_see_is_like_nothing() -> None:
    flat, rich = np.full((SIDE, SIDE, 3), 80, np.uint8), ground(8, SIDE)
    assert layout.layout(flat).tolist() == [0] * LENGTH
    assert likeness(poses(rich), layout.layout(flat)[None]).tolist() == [0.0]
    assert poses(flat).shape == (0, LENGTH)
    assert likeness(poses(flat), layout.layout(rich)[None]).tolist() == [0.0]
    assert likeness(poses(rich), np.zeros((0, LENGTH), np.int8)).shape == (0,)


def test_where_there_is_no_data_there_is_no_edge() -> None:
    rich, mask = ground(9, SIDE), np.ones((SIDE, SIDE), bool)
    mask[:, 150:] = False
    blacked, noisy = rich.copy(), rich.copy()
    blacked[~mask] = 0
    noisy[~mask] = ground(10, SIDE)[~mask]
    cells = layout.layout(blacked, mask).reshape(12, 12, 2)
    assert not cells[:, 7:].any()
    assert cells[:, :6].any()
    others = layout.layout(noisy, mask).astype(np.float32)
    cosine = others @ cells.ravel() / np.linalg.norm(others) / np.linalg.norm(cells.astype(np.float32))
    assert cosine > 0.98  # how steep an edge is beside others near it may change a little
    assert not layout.layout(rich, np.zeros_like(mask)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (40, 400), (256, 100)])
def test_any_shape_has_a_layout(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    assert layout.layout(picture, np.ones(shape, bool)).shape == (LENGTH,)
    assert np.isfinite(poses(picture)).all()


def test_the_layout_of_an_encoded_tile() -> None:
    picture = ground(11, SIDE)
    kept = layout_of_image(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    assert kept is not None
    assert kept.tolist() == layout.layout(picture).tolist()
    assert layout_of_image(b"") is layout_of_image(b"no picture") is None
