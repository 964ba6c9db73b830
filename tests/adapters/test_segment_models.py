"""Large segmenters behind `segment`: asked by words, by their classes or by boxes, window by window."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lakes import LAKE, SIDE, scene
from segmenters import Scripted

from rsrag.adapters.base import Context
from rsrag.adapters.segment import SEGMENT, SegmentRequest, means, things
from rsrag.adapters.segment import models as large
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.models.registry import load_profile
from rsrag.types import Window


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def test_a_large_model_by_words(tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "open_segmenter", lambda name, context: Scripted("words"))
    result = SEGMENT.run(SegmentRequest(scene(tmp_path / "lake.tif"), "pond", model="scripted"), context)
    assert result.method == "scripted" and result.provenance.models["segmenter"] == "scripted:1"
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[LAKE] = True
    assert ((result.layers[0].read() == 1) == truth).mean() > 0.95


def test_a_large_model_of_classes(tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "open_segmenter", lambda name, context: Scripted("labels"))
    path = scene(tmp_path / "lake.tif")
    result = SEGMENT.run(SegmentRequest(path, "the water", model="scripted"), context)
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[LAKE] = True
    assert ((result.layers[0].read() == 1) == truth).mean() > 0.95
    with pytest.raises(UsageError, match="was not trained on 'storage tank'") as refused:
        SEGMENT.run(SegmentRequest(path, "storage tank", model="scripted"), context)
    assert "3 classes, such as house, building" in str(refused.value.hint)


def test_classes_are_found_by_any_of_their_names() -> None:
    from rsrag.adapters.segment.models import classes_named

    for text, number in (("buildings", 0), ("House", 0), ("palm trees", 2), ("palm tree", 2)):
        assert classes_named(text, Scripted("labels")) == [number]  # type: ignore[arg-type]


def test_a_large_model_by_boxes_gets_the_detector_s_or_the_warm_ones(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Scripted("boxes")
    monkeypatch.setattr(means, "open_segmenter", lambda name, context: model)
    result = SEGMENT.run(SegmentRequest(scene(tmp_path / "lake.tif"), "water", model="scripted"), context)
    assert result.method == "scripted" and model.boxes, "the heat map has warm regions to cut"
    assert all(left < right and top < bottom for left, top, right, bottom in model.boxes)


def test_a_thing_in_many_windows_is_cut_out_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted("boxes")
    monkeypatch.setattr(means, "open_segmenter", lambda name, context: model)
    found = things.Things((things.Thing((10.0, 20.0, 1190.0, 1080.0), 0.9),), "stub")
    monkeypatch.setattr(large, "things_if_any", lambda *_: (found, ()))
    picture = np.zeros((1100, 1200, 3), dtype=np.uint8)
    picture[200:900, 300:1000] = 255
    request = SegmentRequest(255 - picture, "ships", model="scripted")
    whole = SEGMENT.run(request, context).layers[0].read()
    monkeypatch.setattr(means, "CORE", 256)
    model.boxes.clear()
    parts = SEGMENT.run(request, context).layers[0].read()
    assert len(model.boxes) == 1
    assert np.array_equal(parts, whole) and ((parts == 1) == (picture[..., 0] > 0)).mean() > 0.98


def test_a_thing_that_spans_a_large_scene_is_enlarged_where_a_window_needs_it() -> None:
    left = np.zeros((500, 500, 3), dtype=np.uint8)
    left[:, :250] = 255
    subject = SimpleNamespace(width=20_000, height=20_000)
    view = SimpleNamespace(subject=subject, picture=lambda window, longest: left)
    cuts = things.Cuts(view, lambda picture, box: picture[..., 0] / np.float32(255))  # type: ignore[arg-type]
    tracemalloc.start()
    score = things.paint(Window(9_900, 300, 200, 100), [things.Thing((0, 0, 20_000, 20_000), 0.75)], cuts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (score[:, :100] == 0.75).all() and not score[:, 100:].any() and peak < 20e6


@pytest.mark.parametrize(("name", "message"), [("nobody", "no model 'nobody'"), ("mini-image", "outlines nothing")])
def test_models_that_do_not_outline(name: str, message: str, tmp_path: Path, context: Context) -> None:
    with pytest.raises(UsageError, match=message):
        SEGMENT.run(SegmentRequest(scene(tmp_path / "lake.tif"), "water", model=name), context)


def test_a_directory_says_by_its_settings_how_it_is_prompted(tmp_path: Path) -> None:
    from rsrag.adapters.segment.models import _prompt

    assert _prompt(tmp_path) == "boxes"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clipseg"}))
    assert _prompt(tmp_path) == "words"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mask2former"}))
    assert _prompt(tmp_path) == "labels"
    (tmp_path / "config.json").write_text("[]")
    assert _prompt(tmp_path) == "boxes"
