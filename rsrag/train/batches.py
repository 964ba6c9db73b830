"""Batches of augmented views, made ahead in threads; every value depends only on seed, epoch and position."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rsrag.train.augment import mild_view, mixed_view, training_view, wild_view
from rsrag.train.data import Collection

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
_AHEAD = 4
_VIEWS = {"full": training_view, "mild": mild_view, "mixed": mixed_view}


@dataclass
class Batch:
    """Views of every picture and the texts of those that have some. V, the number of views, is 2 or 1.

    Attributes:
        views: uint8 [V, B, S, S, 3].
        rows: for every view int64 [M], positions of the pictures whose view is paired with a text.
        texts: for every view int64 [M], index of that text: a caption with the first view, a caption or a prompt with
            the second.
        labels: for every view int64 [M], class number, -1 for none.
    """

    views: npt.NDArray[np.uint8]
    rows: tuple[Numbers, ...]
    texts: tuple[Numbers, ...]
    labels: tuple[Numbers, ...]


@dataclass(frozen=True)
class _Epoch:
    """What all batches of an epoch have in common."""

    data: Collection
    items: Numbers
    size: int
    seeds: tuple[int, int]
    views: int
    wild: float

    def pictures(self, member: int, row: int, step: int) -> tuple[Pixels, Pixels]:
        """What the views of a member are cut from; past the items come unlabelled crops, in fours of neighbours."""
        data = self.data
        if member < len(self.items):
            pixels = data.train[self.items[member]].pixels
            return pixels, pixels
        rng = np.random.default_rng([*self.seeds, step, row, 1])
        where = np.random.default_rng([*self.seeds, step, row // 4, 2])
        if member < len(self.items) + data.crops[0]:
            assert data.mosaic is not None
            return data.mosaic.crops(where, row % 4, rng)
        assert data.landscapes is not None
        return data.landscapes.pair(where, row % 4, rng)

    def make(self, members: Numbers, step: int, part: slice) -> Batch:
        """The rows ``part`` of the batch of ``members``."""
        data, size = self.data, self.size
        usual = _VIEWS[data.augment]
        chosen = list(enumerate(np.sort(members)))[part]
        views = np.empty((self.views, len(chosen), size, size, 3), dtype=np.uint8)
        paired: list[list[tuple[int, int, int]]] = [[], []]
        for place, (row, member) in enumerate(chosen):
            rng = np.random.default_rng([*self.seeds, step, row])
            one, two = self.pictures(int(member), row, step)
            views[0, place] = usual(one, size, rng)
            strange = False
            if self.views == 2:
                strange = rng.random() < self.wild
                views[1, place] = (wild_view if strange else usual)(two, size, rng)
            if member >= len(self.items):
                continue
            item = int(self.items[member])
            captions, label = data.texts.captions[item], int(data.texts.labels[item])
            if captions:
                paired[0].append((place, int(rng.choice(captions)), label))
                if not strange:
                    second = captions if self.wild and rng.random() < 0.6 else data.texts.prompts[item]
                    paired[1].append((place, int(rng.choice(second)), label))
        columns = [np.array(rows, dtype=np.int64).reshape(-1, 3).T for rows in paired[: self.views]]
        rows, texts, labels = (tuple(column[number] for column in columns) for number in range(3))
        return Batch(views, rows, texts, labels)


def steps_per_epoch(data: Collection, batch: int) -> int:
    """Whole batches in an epoch."""
    return max(1, (len(data.members(0, 0)) + sum(data.crops)) // batch)


def epoch_batches(
    data: Collection,
    *,
    batch: int,
    size: int,
    seed: int,
    epoch: int,
    workers: int,
    wild: float = 0.0,
    views: int = 2,
    start: int = 0,
    rank: int = 0,
    devices: int = 1,
) -> Iterator[Batch]:
    """Shuffled batches of one epoch, the last partial one dropped, with hard negatives when the data have them.

    Args:
        data: what to draw from.
        batch: pictures a batch, over all devices.
        size: side of a view in px.
        seed: of the run.
        epoch: number of the epoch.
        workers: threads.
        wild: share of second views made by :func:`rsrag.train.augment.wild_view`.
        views: of every picture, 2 or 1.
        start: batches of the epoch to leave out at its beginning: where a stopped run goes on.
        rank: number of this device.
        devices: how many share a batch: each makes every ``devices``-th picture of it, from number ``rank`` on.
            Together they are the batch that one device alone would get.

    Yields:
        Batches in a fixed order.
    """
    items = data.members(seed, epoch)
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(items) + sum(data.crops))
    if data.hard is not None:
        order = data.hard.order(order, items, batch, rng)
    whole = _Epoch(data, items, size, (seed, epoch), views, wild)
    part = slice(rank, None, devices)
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for step in range(start, steps_per_epoch(data, batch)):
                waiting.append(pool.submit(whole.make, order[step * batch : (step + 1) * batch], step, part))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
