"""Batches with hard negatives: pictures whose captions are nearly, but not quite, those of another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsrag.models.vectors import unit

CEILING = 0.97
"""Texts with a higher cosine say the same in other words: no negatives."""
_BLOCK = 1024
_SHARD = 20_000


class HardBatches:
    """Orders the pictures of an epoch so that some of a batch are the hardest negatives of others in it.

    Pictures with the same texts and class form one profile with one vector, the mean of the static vectors of their
    captions. The nearest profiles that share neither a caption nor a class are found once; in sets of more than 20,000
    profiles within random parts of that size, so that the search grows linearly.

    Args:
        captions: for every picture, its texts.
        prompts: for every picture, the prompts of its class.
        groups: int64 [T], texts of one group are no negatives of each other.
        vectors: float32 [T, D] of the texts, unit length.
        share: of the pictures of an epoch, how many are placed as negatives.
        neighbours: profiles to choose from.
    """

    def __init__(
        self,
        captions: Sequence[Sequence[int]],
        prompts: Sequence[Sequence[int]],
        groups: npt.NDArray[np.int64],
        vectors: npt.NDArray[np.float32],
        *,
        share: float,
        neighbours: int = 8,
    ) -> None:
        self._partners = share / (1 - share)
        numbers: dict[tuple[frozenset[int], frozenset[int]], int] = {}
        texts: list[Sequence[int]] = []
        self.profile = np.empty(len(captions), dtype=np.int64)
        for row, (own, classes) in enumerate(zip(captions, prompts, strict=True)):
            key = (frozenset(groups[list(own)].tolist()), frozenset(groups[list(classes)].tolist()))
            self.profile[row] = numbers.setdefault(key, len(numbers)) if own else -1
            if own and len(numbers) > len(texts):
                texts.append(own)
        self.near = _nearest(list(numbers), texts, vectors, neighbours)

    def order(
        self, members: npt.NDArray[np.int64], items: npt.NDArray[np.int64], batch: int, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Rearrange an epoch. Every member stays in it exactly once.

        Args:
            members: int64 [M], shuffled positions of an epoch; those of ``len(items)`` and above are no pictures.
            items: int64 [L], picture at every position.
            batch: members a batch.
            rng: source of all choices.

        Returns:
            int64 [M].
        """
        waiting: dict[int, list[int]] = {}
        for member in members[::-1]:
            if member < len(items) and self.profile[items[member]] >= 0:
                waiting.setdefault(int(self.profile[items[member]]), []).append(int(member))
        used = np.zeros(len(members), dtype=bool)
        result: list[int] = []
        whole, part = divmod(self._partners, 1)
        for member in members:
            if used[member]:
                continue
            used[member] = True
            result.append(int(member))
            profile = int(self.profile[items[member]]) if member < len(items) else -1
            if profile < 0:
                continue
            for _ in range(int(whole) + int(rng.random() < part)):
                partner = self._take(profile, waiting, used, rng) if len(result) % batch else None
                if partner is not None:
                    used[partner] = True
                    result.append(partner)
        return np.array(result, dtype=np.int64)

    def _take(
        self, profile: int, waiting: dict[int, list[int]], used: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> int | None:
        """An unused member of a near profile, or None."""
        for other in rng.permutation(self.near[profile]):
            queue = waiting.get(int(other), [])
            while queue:
                member = queue.pop()
                if not used[member]:
                    return member
        return None


def _nearest(
    profiles: list[tuple[frozenset[int], frozenset[int]]],
    texts: list[Sequence[int]],
    vectors: npt.NDArray[np.float32],
    neighbours: int,
) -> npt.NDArray[np.int64]:
    """Nearest profiles that share no group, int64 [P, neighbours], filled with -1."""
    count = len(profiles)
    near = np.full((count, neighbours), -1, dtype=np.int64)
    if not count:
        return near
    means = unit(np.stack([vectors[list(own)].mean(axis=0) for own in texts]))
    shuffled = np.random.default_rng(0).permutation(count) if count > _SHARD else np.arange(count)
    every = [own | classes for own, classes in profiles]
    numbers: dict[frozenset[int], int] = {}
    kind = np.array([numbers.setdefault(classes, len(numbers)) for _, classes in profiles])
    for start in range(0, count, _SHARD):
        part = shuffled[start : start + _SHARD]
        for low in range(0, len(part), _BLOCK):
            rows = part[low : low + _BLOCK]
            scores = means[rows] @ means[part].T
            scores[(kind[rows][:, None] == kind[part][None, :]) | (scores > CEILING)] = -2
            take = min(4 * neighbours, len(part))
            best = np.argpartition(-scores, take - 1, axis=1)[:, :take]
            ranked = np.take_along_axis(
                best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1
            )
            for row, candidates, own in zip(rows, ranked, scores, strict=True):
                good = [part[c] for c in candidates if own[c] > -2 and not every[row] & every[part[c]]]
                near[row, : len(good[:neighbours])] = good[:neighbours]
    return near
