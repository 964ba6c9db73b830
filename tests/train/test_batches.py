"""Batches: the same whatever the threads, the start and the number of devices; every picture as often as asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from rsrag.train.batches import Batch, epoch_batches, steps_per_epoch
from rsrag.train.config import parse_config
from rsrag.train.data import Collection, load


@pytest.fixture
def data(toy_data: Path, toy_table: dict[str, Any]) -> Collection:
    return load(parse_config(toy_table).data, toy_data)


def run(data: Collection, **changes: Any) -> list[Batch]:
    """Batches of 16 of an epoch."""
    options: dict[str, Any] = {"batch": 16, "size": 32, "seed": 1, "epoch": 4, "workers": 2, **changes}
    return list(epoch_batches(data, **options))


def equal(one: Batch, other: Batch) -> bool:
    """Whether two batches hold the same values."""
    pairs = zip((*one.rows, *one.texts, *one.labels), (*other.rows, *other.texts, *other.labels), strict=True)
    return np.array_equal(one.views, other.views) and all(np.array_equal(a, b) for a, b in pairs)


def test_batches_do_not_depend_on_the_number_of_threads(data: Collection) -> None:
    one, other = (run(data, workers=workers, wild=0.3) for workers in (1, 3))
    assert len(one) == len(other) == steps_per_epoch(data, 16) > 1
    assert all(equal(a, b) for a, b in zip(one, other, strict=True))
    assert not equal(one[0], run(data, epoch=5)[0])
    assert not equal(one[0], run(data, seed=2)[0])


def test_an_epoch_can_be_taken_up_anywhere(data: Collection) -> None:
    whole = run(data)
    for start in range(len(whole) + 1):
        rest = run(data, start=start)
        assert len(rest) == len(whole) - start
        assert all(equal(a, b) for a, b in zip(rest, whole[start:], strict=True))


def test_devices_share_a_batch(data: Collection) -> None:
    for step, whole in enumerate(run(data)):
        for rank in range(2):
            part = run(data, rank=rank, devices=2)[step]
            assert np.array_equal(part.views, whole.views[:, rank::2])
            for view in range(2):
                own = whole.rows[view] % 2 == rank
                assert np.array_equal(part.rows[view], whole.rows[view][own] // 2)
                assert np.array_equal(part.texts[view], whole.texts[view][own])
                assert np.array_equal(part.labels[view], whole.labels[view][own])


def test_one_view_is_the_first_of_two(data: Collection) -> None:
    for one, two in zip(run(data, views=1), run(data), strict=True):
        assert one.views.shape[0] == len(one.texts) == 1
        assert np.array_equal(one.views[0], two.views[0])


def test_views_follow_the_setting(toy_data: Path, toy_table: dict[str, Any], data: Collection) -> None:
    toy_table["data"]["augment"] = "mild"
    mild = load(parse_config(toy_table).data, toy_data)
    assert not np.array_equal(run(mild)[0].views, run(data)[0].views)


def test_texts_belong_to_the_picture_they_are_paired_with(data: Collection) -> None:
    seen = Counter[int]()
    for batch in run(data, batch=4):
        for rows, texts, labels in zip(batch.rows, batch.texts, batch.labels, strict=True):
            assert len(rows) == len(set(rows.tolist()))
            for text, label in zip(texts, labels, strict=True):
                options = data.names[data.texts.classes[label]]
                said = data.texts.sentences[text].lower()
                said = said.replace("openwater", "open water").replace("baresoil", "bare soil")
                assert any(option in said for option in options), said
                seen[int(text)] += 1
    assert len(seen) > 20  # several captions and prompts of a picture are drawn


def repeated(toy_data: Path, toy_table: dict[str, Any], repeat: float) -> Collection:
    toy_table["data"]["sources"][1]["repeat"] = repeat
    return load(parse_config(toy_table).data, toy_data)


@pytest.mark.parametrize("repeat", [0.5, 1, 2, 2.5])
def test_a_set_is_shown_as_often_as_asked(toy_data: Path, toy_table: dict[str, Any], repeat: float) -> None:
    data = repeated(toy_data, toy_table, repeat)
    told = [number for number, item in enumerate(data.train) if item.source == "told"]
    other = [number for number, item in enumerate(data.train) if item.source != "told"]
    epochs = [Counter(data.members(3, epoch).tolist()) for epoch in range(2)]
    for counts in epochs:
        assert all(counts[number] == 1 for number in other)
        assert {counts[number] for number in told} <= {int(repeat), int(repeat) + (repeat % 1 > 0)}
        assert sum(counts[number] for number in told) == int(repeat) * len(told) + round(repeat % 1 * len(told))
    if repeat == 0.5 and len(told) % 2 == 0:  # two epochs show everything once
        assert all(epochs[0][number] + epochs[1][number] == 1 for number in told)
    assert len(data.members(3, 0)) == len(data.members(9, 7))


def test_hard_negatives_change_the_order_and_nothing_else(toy_data: Path, toy_table: dict[str, Any]) -> None:
    usual = load(parse_config(toy_table).data, toy_data)
    toy_table["data"]["hard"] = 0.4
    data = load(parse_config(toy_table).data, toy_data)
    assert data.hard is not None
    batches = run(data, batch=4)
    assert len(batches) == len(run(usual, batch=4))
    assert not equal(batches[0], run(usual, batch=4)[0])
    assert all(equal(a, b) for a, b in zip(batches[3:], run(data, batch=4, start=3, workers=3), strict=True))
    for profile, near in enumerate(data.hard.near):  # of the classes of the toy set, never the own one
        kinds = {data.train[row].label.split("/")[1] for row in np.flatnonzero(data.hard.profile == profile)}
        others = {
            data.train[row].label.split("/")[1] for row in np.flatnonzero(np.isin(data.hard.profile, near[near >= 0]))
        }
        assert others
        assert not kinds & others
