"""Batches of augmented views, made ahead in threads; every value depends only on seed, epoch and position."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsrag.train.augment import training_view, wild_view
from rsrag.train.data import Collection

Pixels = npt.NDArray[np.uint8]
_AHEAD = 4


@dataclass
class Batch:
    """Two views of every picture and the texts of those that have some.

    Attributes:
        views: uint8 [2, B, S, S, 3].
        rows: for either view int64 [M], positions of the pictures whose view is paired with a text.
        texts: for either view int64 [M], index of that text: a caption with the first view, a caption or a prompt with
            the second.
        labels: for either view int64 [M], class number, -1 for none.
    """

    views: npt.NDArray[np.uint8]
    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    texts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    labels: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def steps_per_epoch(data: Collection, batch: int) -> int:
    """Whole batches in an epoch."""
    return max(1, (len(data.order) + sum(data.crops)) // batch)


def _pictures(data: Collection, member: int, row: int, seeds: tuple[int, int, int]) -> tuple[Pixels, Pixels]:
    """What the views of a member are cut from; members past the items are unlabelled crops, in fours of neighbours."""
    if member < len(data.order):
        pixels = data.train[data.order[member]].pixels
        return pixels, pixels
    rng = np.random.default_rng([*seeds, row, 1])
    where = np.random.default_rng([*seeds, row // 4, 2])
    if member < len(data.order) + data.crops[0]:
        assert data.mosaic is not None
        return data.mosaic.crops(where, row % 4, rng)
    assert data.landscapes is not None
    return data.landscapes.pair(where, row % 4, rng)


def _make(
    data: Collection, members: npt.NDArray[np.int64], size: int, seeds: tuple[int, int, int], wild: float
) -> Batch:
    views = np.empty((2, len(members), size, size, 3), dtype=np.uint8)
    paired: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
    for row, member in enumerate(np.sort(members)):
        rng = np.random.default_rng([*seeds, row])
        one, two = _pictures(data, int(member), row, seeds)
        views[0, row] = training_view(one, size, rng)
        strange = rng.random() < wild
        views[1, row] = (wild_view if strange else training_view)(two, size, rng)
        if member >= len(data.order):
            continue
        item = int(data.order[member])
        captions, label = data.texts.captions[item], int(data.texts.labels[item])
        if captions:
            paired[0].append((row, int(rng.choice(captions)), label))
            if not strange:
                second = captions if wild and rng.random() < 0.6 else data.texts.prompts[item]
                paired[1].append((row, int(rng.choice(second)), label))
    columns = [np.array(rows, dtype=np.int64).reshape(-1, 3).T for rows in paired]
    rows, texts, labels = (tuple(column[number] for column in columns) for number in range(3))
    return Batch(views, rows, texts, labels)  # type: ignore[arg-type]


def epoch_batches(
    data: Collection, *, batch: int, size: int, seed: int, epoch: int, workers: int, wild: float = 0.0
) -> Iterator[Batch]:
    """Shuffled batches of one epoch, the last partial one dropped.

    Args:
        data: what to draw from.
        batch: pictures a batch.
        size: side of a view in px.
        seed: of the run.
        epoch: number of the epoch.
        workers: threads.
        wild: share of second views made by :func:`rsrag.train.augment.wild_view`.

    Yields:
        Batches in a fixed order.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(data.order) + sum(data.crops))
    count = steps_per_epoch(data, batch)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque[Future[Batch]] = deque()
        for step in range(count + _AHEAD):
            if step < count:
                members = order[step * batch : (step + 1) * batch]
                waiting.append(pool.submit(_make, data, members, size, (seed, epoch, step), wild))
            if step >= _AHEAD and waiting:
                yield waiting.popleft().result()
