"""The comparison of two retrievals, on outcomes that can be worked out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("cv2")

from rsrag.train.lift import Outcomes, compare, outcomes, table


@dataclass
class Told:
    """Stands for an item: its captions alone count."""

    captions: list[str]


def test_any_picture_or_caption_of_equal_wording_counts() -> None:
    items = [Told(["a boat", "Water ."]), Told(["water"]), Told(["sand"])]
    images = np.eye(3)
    texts = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0, 0.1], [0, 0, 1.0]])
    found = outcomes(images, items, texts)  # type: ignore[arg-type]
    assert found.owner.tolist() == [0, 0, 1, 2]
    # picture 1 is nearest to the caption "Water ." of picture 0, which has its own wording
    assert found.pictures[:, 0].tolist() == [True, True, True]
    # "Water ." is nearest to picture 1, "water" to picture 0: both have the wording
    assert found.texts[:, 0].tolist() == [True, True, True, True]


def test_recalls_are_weighted_by_picture() -> None:
    hits = np.array([[True, True, True], [False, True, True]])
    found = Outcomes(hits, np.array([[True] * 3, [False] * 3, [False] * 3]), np.array([0, 1, 1]))
    assert found.recalls() == pytest.approx([0.5, 1, 1, 1 / 3, 1 / 3, 1 / 3])
    assert found.recalls(np.array([[2, 0], [0, 2]])) == pytest.approx(
        np.array([[1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0]])
    )


def outcome(share: float, count: int, seed: int) -> Outcomes:
    rng = np.random.default_rng(seed)
    pictures, texts = (np.repeat(rng.random((count, 1)) < share, 3, axis=1) for _ in range(2))
    return Outcomes(pictures, texts, np.arange(count))


def test_the_interval_covers_the_difference_and_tells_luck_from_gain() -> None:
    gain = compare(outcome(0.2, 300, 1), outcome(0.6, 300, 2))
    assert gain["lift"]["low"] < gain["lift"]["mr"] < gain["lift"]["high"]
    assert gain["lift"]["low"] > 25
    assert gain["lift"]["mr"] == pytest.approx(gain["tuned"]["mr"] - gain["start"]["mr"])
    luck = compare(outcome(0.3, 300, 3), outcome(0.3, 300, 4))
    assert luck["lift"]["low"] < 0 < luck["lift"]["high"]
    same = compare(outcome(0.3, 50, 3), outcome(0.3, 50, 3))
    assert (same["lift"]["low"], same["lift"]["high"]) == (0, 0)
    text = table({**gain, "random_start": True})
    assert "95 % interval" in text
    assert "random weights" in text
