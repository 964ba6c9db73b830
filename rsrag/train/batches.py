"""Batches of augmented views, made ahead in threads; every value depends only on seed, epoch and position."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsrag.train.augment import training_view
from rsrag.train.data import Collection

_AHEAD = 4


@dataclass
class Batch:
    """Two views of every picture and the texts of those that have some.

    Attributes:
        first: uint8 [B, S, S, 3].
        second: uint8 [B, S, S, 3].
        rows: int64 [M], positions of the pictures with text.
        captions: int64 [M], index of the text paired with the first view.
        prompts: int64 [M], index of the text paired with the second view.
    """

    first: npt.NDArray[np.uint8]
    second: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]
    prompts: npt.NDArray[np.int64]


def steps_per_epoch(data: Collection, batch: int) -> int:
    """Whole batches in an epoch."""
    crops = data.mosaic.config.crops if data.mosaic else 0
    return max(1, (len(data.train) + crops) // batch)


def _make(data: Collection, members: npt.NDArray[np.int64], size: int, seeds: tuple[int, int, int]) -> Batch:
    first, second = (np.empty((len(members), size, size, 3), dtype=np.uint8) for _ in range(2))
    rows, captions, prompts = [], [], []
    for row, member in enumerate(members):
        rng = np.random.default_rng([*seeds, row])
        if member < len(data.train):
            one = two = data.train[member].pixels
            if data.texts.captions[member]:
                rows.append(row)
                captions.append(rng.choice(data.texts.captions[member]))
                prompts.append(rng.choice(data.texts.prompts[member]))
        else:
            assert data.mosaic is not None
            one, two = data.mosaic.crops(rng)
        first[row] = training_view(one, size, rng)
        second[row] = training_view(two, size, rng)
    texts = (np.array(values, dtype=np.int64) for values in (rows, captions, prompts))
    return Batch(first, second, *texts)


def epoch_batches(data: Collection, *, batch: int, size: int, seed: int, epoch: int, workers: int) -> Iterator[Batch]:
    """Shuffled batches of one epoch, the last partial one dropped.

    Args:
        data: what to draw from.
        batch: pictures a batch.
        size: side of a view in px.
        seed: of the run.
        epoch: number of the epoch.
        workers: threads.

    Yields:
        Batches in a fixed order.
    """
    crops = data.mosaic.config.crops if data.mosaic else 0
    order = np.random.default_rng([seed, epoch]).permutation(len(data.train) + crops)
    count = steps_per_epoch(data, batch)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque[Future[Batch]] = deque()
        for step in range(count + _AHEAD):
            if step < count:
                members = order[step * batch : (step + 1) * batch]
                waiting.append(pool.submit(_make, data, members, size, (seed, epoch, step)))
            if step >= _AHEAD and waiting:
                yield waiting.popleft().result()
