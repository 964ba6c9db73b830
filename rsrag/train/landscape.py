"""Invented landscapes on several dates: parcels, shores, roads and relief stay; crops, water and light change.

No pair of real pictures of one place in different years is needed to learn that a field may turn from green to yellow
while its edge stays. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

_COVERS = np.array(
    [  # red, green, blue of crops, soils and grass under various light
        (62, 96, 58), (84, 118, 66), (110, 132, 78), (150, 140, 92), (196, 170, 110), (170, 140, 110),
        (132, 104, 84), (104, 84, 70), (150, 150, 120), (90, 110, 92), (184, 172, 150), (70, 80, 50),
    ],
    dtype=np.float32,
)  # fmt: skip
_WATERS = np.array([(28, 32, 44), (44, 58, 62), (60, 84, 70), (92, 112, 70), (50, 44, 40), (96, 120, 130)], np.float32)


def noise(size: int, coarse: int, octaves: int, rng: np.random.Generator) -> Field:
    """Smooth noise float32 [size, size], mean 0 and standard deviation 1: random grids added up, each twice as fine."""
    total = np.zeros((size, size), dtype=np.float32)
    for octave in range(octaves):
        grid = rng.normal(0, 1, (coarse << octave, coarse << octave)).astype(np.float32)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return np.asarray((total - total.mean()) / total.std(), dtype=np.float32)


def parcels(size: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Numbers of parcels int32 [size, size]: rectangles split again and again, turned, their edges sometimes bent."""
    large = size * 3 // 2
    numbers = np.zeros((large, large), dtype=np.int32)
    open_boxes, count = [(0, 0, large, large)], 0
    smallest = rng.uniform(0.04, 0.16) * size
    while open_boxes:
        top, left, bottom, right = open_boxes.pop()
        tall, wide = bottom - top, right - left
        if max(tall, wide) < smallest * 2 or (max(tall, wide) < smallest * 6 and rng.random() < 0.25):
            numbers[top:bottom, left:right] = count
            count += 1
        elif tall > wide:
            cut = top + round(tall * rng.choice((0.5, rng.uniform(0.3, 0.7))))
            open_boxes += [(top, left, cut, right), (cut, left, bottom, right)]
        else:
            cut = left + round(wide * rng.choice((0.5, rng.uniform(0.3, 0.7))))
            open_boxes += [(top, left, bottom, cut), (top, cut, bottom, right)]
    angle, bend = rng.uniform(0, 90), rng.choice((0.0, rng.uniform(2, 18)))
    turn = cv2.getRotationMatrix2D((large / 2, large / 2), angle, 1.0)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) + (large - size) / 2
    ys, xs = ys + bend * noise(size, 3, 2, rng), xs + bend * noise(size, 3, 2, rng)
    turned_x = (turn[0, 0] * xs + turn[0, 1] * ys + turn[0, 2]).astype(np.float32)
    turned_y = (turn[1, 0] * xs + turn[1, 1] * ys + turn[1, 2]).astype(np.float32)
    picked = cv2.remap(numbers.astype(np.float32), turned_x, turned_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(picked, dtype=np.int32)


@dataclass
class Ground:
    """What does not change between dates, all of shape [S, S].

    Attributes:
        parcels: int32 parcel numbers.
        edges: bool, borders of parcels.
        roads: bool.
        houses: bool.
        wet: float32, high where water gathers.
        pools: int32 numbers of the basins.
        trees: float32, high where trees stand.
        relief: float32 shading.
        grain: float32 fine texture.
    """

    parcels: npt.NDArray[np.int32]
    edges: npt.NDArray[np.bool_]
    roads: npt.NDArray[np.bool_]
    houses: npt.NDArray[np.bool_]
    wet: Field
    pools: npt.NDArray[np.int32]
    trees: Field
    relief: Field
    grain: Field


def ground(size: int, rng: np.random.Generator) -> Ground:
    """Invent a place."""
    numbers = parcels(size, rng)
    edges = np.zeros((size, size), dtype=bool)
    edges[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    edges[1:] |= numbers[1:] != numbers[:-1]
    roads = np.zeros((size, size), dtype=np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        ends = rng.uniform(-0.3, 1.3, 4) * size
        cv2.line(roads, (int(ends[0]), int(ends[1])), (int(ends[2]), int(ends[3])), 1, int(rng.integers(1, 5)))
    houses = np.zeros((size, size), dtype=np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        centre, spread = rng.uniform(0, size, 2), rng.uniform(0.02, 0.12) * size
        for x, y in rng.normal(centre, spread, (int(rng.integers(4, 90)), 2)).astype(int):
            wide, tall = (int(v) for v in rng.integers(2, 9, 2))
            cv2.rectangle(houses, (int(x), int(y)), (int(x) + wide, int(y) + tall), 1, -1)
    wet = noise(size, int(rng.integers(3, 14)), 4, rng)
    if rng.random() < 0.4:  # a stream along the zero line of another field
        path = np.abs(noise(size, int(rng.integers(2, 5)), 3, rng))
        wet = np.maximum(wet, np.asarray(2.6 - path * rng.uniform(15, 60), dtype=np.float32))
    _, pools = cv2.connectedComponents((wet > 0.9).astype(np.uint8))
    return Ground(
        numbers,
        edges,
        roads > 0,
        houses > 0,
        wet,
        pools.astype(np.int32),
        noise(size, int(rng.integers(4, 24)), 4, rng),
        noise(size, int(rng.integers(6, 40)), 4, rng),
        rng.normal(0, 1, (size, size)).astype(np.float32),
    )


def render(place: Ground, rng: np.random.Generator, *, trees: float, water: float) -> Picture:
    """The place on one date.

    Args:
        place: what stays.
        rng: source of what this date has of its own.
        trees: level of ``place.trees`` above which trees stand.
        water: usual level of ``place.wet`` above which there is water; the date's own differs a little.

    Returns:
        uint8 [S, S, 3] RGB.
    """
    count = int(place.parcels.max()) + 1
    usual = rng.integers(0, len(_COVERS), 3)
    kinds = np.where(rng.random(count) < 0.6, usual[rng.integers(0, 3, count)], rng.integers(0, len(_COVERS), count))
    covers = _COVERS[kinds] * np.exp(rng.normal(0, 0.12, (count, 1))) + rng.normal(0, 7, (count, 3))
    picture = covers.astype(np.float32)[place.parcels]
    patchy = (rng.normal(0, 9, count).astype(np.float32))[place.parcels]
    picture += (place.relief * patchy + place.grain * rng.uniform(1, 5))[..., None]
    picture[place.edges] += rng.normal(0, 18)
    wood = place.trees > trees
    picture[wood] = np.array((52, 72, 46), np.float32) * rng.uniform(0.6, 1.5) + (place.grain[wood] * 12)[:, None]
    level = water + rng.normal(0, 0.18)
    shore = (place.wet > level - 0.22) & (place.wet <= level)
    picture[shore] = 0.4 * picture[shore] + 0.6 * (np.array((150, 140, 118), np.float32) * rng.uniform(0.5, 1.3))
    basins = _WATERS[rng.integers(0, len(_WATERS), int(place.pools.max()) + 1)]
    drowned = place.wet > level
    picture[drowned] = basins[place.pools[drowned]] + place.grain[drowned][:, None] * 2
    picture[place.roads] = rng.uniform(110, 220) + rng.normal(0, 6, 3)
    picture[place.houses] = rng.uniform(120, 230) + rng.normal(0, 12, 3)
    lit = picture * rng.uniform(0.75, 1.25) + rng.normal(0, 8, 3)
    return np.clip(lit, 0, 255).astype(np.uint8)


class Landscapes:
    """A stock of invented places, each on several dates.

    Args:
        places: how many.
        dates: pictures of each, at least 2.
        size: side in px.
        seed: of everything.
    """

    def __init__(self, places: int, dates: int, size: int, seed: int) -> None:
        self.pictures: list[list[Picture]] = []
        for number in range(places):
            rng = np.random.default_rng([seed, 71, number])
            place = ground(size, rng)
            trees, water = rng.uniform(0.8, 2.2), rng.uniform(0.9, 2.0)
            self.pictures.append([render(place, rng, trees=trees, water=water) for _ in range(dates)])

    def pair(self, where: np.random.Generator, cell: int, rng: np.random.Generator) -> tuple[Picture, Picture]:
        """One spot on two dates; calls with an equal ``where`` and cells 0..3 give neighbours that overlap by a fifth.

        Args:
            where: fixes place, corner and side.
            cell: 0..3, which of the four neighbours.
            rng: chooses the dates.

        Returns:
            Two uint8 [h, w, 3] views into the stock.
        """
        dates = self.pictures[int(where.integers(len(self.pictures)))]
        size = dates[0].shape[0]
        side = int(where.uniform(0.14, 0.42) * size)
        step = min(int(0.8 * side), size - side)
        top, left = (int(v) for v in where.integers(0, size - side - step + 1, 2))
        top, left = top + step * (cell // 2), left + step * (cell % 2)
        one, two = rng.choice(len(dates), 2, replace=False)
        return dates[one][top : top + side, left : left + side], dates[two][top : top + side, left : left + side]
