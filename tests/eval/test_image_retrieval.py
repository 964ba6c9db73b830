"""Image retrieval: rankings with known answers, alterations, and dates of one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_encoder import install, tinted, write_classes
from PIL import Image
from rasters import write_tiff

from rsrag.errors import BadFootprint, UnreadableSource, UsageError
from rsrag.eval import image_retrieval as suite
from rsrag.eval.encoders import open_encoder
from rsrag.eval.image_dates import hits, run_dates
from rsrag.eval.reports.intervals import mean_interval

TILE, SIZE, DEGREES = 64, 192, 0.001


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return install(monkeypatch, tmp_path)


def on_a_line(*degrees: float) -> Any:
    """Unit vectors at angles: the nearest by cosine is the nearest by angle."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_average_precision_of_a_known_order() -> None:
    # From 0°: b, a, b, a; its class is "a": right at ranks 2 and 4.
    vectors = on_a_line(0, 10, 20, 30, 40)
    ranked = suite.rank(vectors, vectors, ["a", "b", "a", "b", "a"], altered=False)
    assert ranked.average[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert (ranked.first[0], ranked.five[0]) == (0.0, 0.5)
    assert np.isnan(ranked.same).all() and "same@1" not in ranked.figures()


def test_the_nearest_twenty_are_a_measure_of_their_own() -> None:
    labels = ["a"] * 3 + ["b"] * 25
    vectors = on_a_line(0, 1, 80, *np.linspace(2, 50, 25))
    ranked = suite.rank(vectors, vectors, labels, altered=False)
    assert ranked.average_near[0] == pytest.approx((1 / 1) / 2)
    assert ranked.average[0] == pytest.approx((1 / 1 + 2 / 27) / 2)


def test_altered_queries_look_for_their_own_original() -> None:
    archive = on_a_line(0, 30, 60, 90)
    ranked = suite.rank(on_a_line(2, 58, 55, 88), archive, ["a", "a", "b", "b"], altered=True)
    assert ranked.same.tolist() == [1, 0, 1, 1]
    assert ranked.first.tolist() == [1, 0, 0, 1]
    assert ranked.figures()["same@1"] == 75


def test_pictures_alone_in_their_class_are_no_queries() -> None:
    vectors = on_a_line(0, 10, 20)
    assert len(suite.rank(vectors, vectors, ["a", "a", "b"], altered=False).average) == 2
    with pytest.raises(UsageError, match="no class has two"):
        suite.rank(vectors, vectors, ["a", "b", "c"], altered=False)


def test_blocks_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    vectors, labels = suite.unit(rng.normal(size=(30, 5))), [str(v) for v in rng.integers(0, 4, 30)]
    whole = suite.rank(vectors, vectors, labels, altered=False)
    monkeypatch.setattr(suite, "_BLOCK", 70)
    assert suite.rank(vectors, vectors, labels, altered=False).figures() == whole.figures()


def test_chance_is_what_random_orders_reach() -> None:
    labels = ["a"] * 3 + ["b"] * 5 + ["c"] * 9 + ["d"]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        vectors = suite.unit(rng.normal(size=(len(labels), 40)))
        found.append(suite.rank(vectors, vectors, labels, altered=False).figures())
    expected = suite.chance(labels)
    for name in ("mAP", "R@1", "P@5"):
        assert np.mean([figures[name] for figures in found]) == pytest.approx(expected[name], abs=1.5)


def test_halves_are_what_words_reach(encoder: str) -> None:
    parts = suite.halves(open_encoder(encoder=encoder))
    assert parts["semantic"].tolist() == [True] * 3 + [False] * 16
    assert (parts["instance"] == ~parts["semantic"]).all()

    class Whole:
        def encode_words(self, texts: list[str]) -> Any:
            return np.ones((len(texts), 4), np.float32)

    assert suite.halves(Whole()) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(suite.ALTERATIONS))
def test_alterations_change_what_they_say(name: str) -> None:
    picture = tinted("green", 5, 64)[:, :48]
    changed = suite.alter(picture, name, np.random.default_rng(4))
    assert changed.dtype == np.uint8 and not np.array_equal(changed, picture)
    assert changed.shape == ((64, 48, 3) if name == "recoloured" else (48, 48, 3))
    assert np.array_equal(changed, suite.alter(picture, name, np.random.default_rng(4)))
    if name in ("turned", "cropped"):
        assert abs(changed.mean(axis=(0, 1)) - picture.mean(axis=(0, 1))).max() < 25


def test_a_folder_of_classes_end_to_end(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "colours", each=3, colours=("red", "green", "blue"))
    result = suite.run(data, encoder=encoder, report=tmp_path / "report")
    rows = result.rows
    assert {"colours", "colours, semantic half", "colours, instance half", "colour histogram", "chance"} == set(rows)
    assert rows["colours, semantic half"]["mAP"] == 100 > rows["colours, instance half"]["mAP"]
    assert result.metrics["mAP"] > rows["chance"]["mAP"] == pytest.approx(suite.chance(["a", "b", "c"] * 3)["mAP"])
    assert result.metrics["mAP_low"] <= result.metrics["mAP"] <= result.metrics["mAP_high"]
    table = result.tables[suite.ALTERED]
    assert [row["queries"] for row in table[::4]] == list(suite.ALTERATIONS)
    turned = next(row for row in table if (row["queries"], row["vectors"]) == ("turned", "colours, semantic half"))
    assert turned["mAP"] == 100
    assert result.metrics["altered_same@1"] == next(
        row["same@1"] for row in table if (row["queries"], row["vectors"]) == ("all three", "colours")
    )
    assert (tmp_path / "report" / "report.html").is_file()
    assert "turned" in result.to_text()
    assert suite.run(data, encoder=encoder).metrics == result.metrics


# --- dates ------------------------------------------------------------------------------------------------------------


def date(path: Path, *, gain: float = 1.0, offset: float = 0.0, **options: Any) -> str:
    rng = np.random.default_rng(11)
    fields = rng.integers(30, 220, (3, SIZE // 6, SIZE // 6)).repeat(6, axis=1).repeat(6, axis=2)
    data = np.clip(fields * gain + offset, 1, 254).astype(np.uint8)
    options = {"transform": (DEGREES, 0, 3.0, 0, -DEGREES, 46.0), "crs": "EPSG:4326", **options}
    return str(write_tiff(path, data, colours=["red", "green", "blue"], photometric="RGB", **options))


def test_hits_of_a_known_order() -> None:
    right = np.array([[False, True, False], [True, False, False]])
    everywhere = np.ones_like(right)
    found = hits(on_a_line(0, 80) @ on_a_line(0, 20, 90).T, right, everywhere)
    assert found == {"hit@1": 0.0, "hit@5": 1.0, "hit@20": 1.0}
    among = np.array([[False, True, True], [True, True, True]])
    assert hits(on_a_line(0, 80) @ on_a_line(0, 20, 90).T, right, among)["hit@1"] == 0.5
    assert hits(on_a_line(0, 80) @ on_a_line(0, 20, 90).T, right, ~right) == {"hit@1": 0, "hit@5": 0, "hit@20": 0}


def test_dates_of_one_place(encoder: str, tmp_path: Path) -> None:
    spring = date(tmp_path / "spring.tif")
    autumn = date(tmp_path / "autumn.tif", gain=0.8, offset=20)
    result = run_dates([spring], [autumn], tile_size=TILE, per_scene=9, encoder=encoder, report=tmp_path / "report")
    rows = result.rows
    halves = {"colours, semantic half", "colours, instance half"}
    assert set(rows) == {"colours", *halves, "layout", "colour histogram", "chance"}
    assert rows["layout"]["hit@1"] > rows["colours"]["hit@1"]
    assert rows["chance"]["hit@1"] < rows["colours"]["hit@5"] <= rows["colours"]["hit@20"] <= 1
    assert result.metrics["hit@1_low"] <= result.metrics["hit@1"] <= result.metrics["hit@1_high"]
    assert result.details["archive tiles"] == "25 of spring.tif"
    assert (tmp_path / "report" / "report.json").is_file()


def test_tiles_of_the_querys_own_date_do_not_count(encoder: str, tmp_path: Path) -> None:
    both = [date(tmp_path / "spring.tif"), date(tmp_path / "autumn.tif", gain=0.8, offset=20)]
    result = run_dates(both, both, tile_size=TILE, per_scene=4, encoder=encoder)
    assert result.details["queries"] == "8 of spring.tif, autumn.tif"
    one = run_dates(both[1:], both[:1], tile_size=TILE, per_scene=4, encoder=encoder)
    assert result.rows["chance"]["hit@1"] == pytest.approx(one.rows["chance"]["hit@1"], rel=0.5)
    with pytest.raises(UsageError, match="no right tile"):
        run_dates(both[:1], both[:1], tile_size=TILE, per_scene=4, encoder=encoder)


def test_scenes_that_give_nothing(encoder: str, tmp_path: Path) -> None:
    spring = date(tmp_path / "spring.tif")
    with pytest.raises(UsageError, match="no queries"):
        run_dates([spring], [spring], tile_size=SIZE + 1, encoder=encoder)
    (tmp_path / "broken.tif").write_bytes(b"")
    with pytest.raises(UnreadableSource, match="broken"):
        run_dates([str(tmp_path / "broken.tif")], [spring], tile_size=TILE, encoder=encoder)
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(tmp_path / "plain.png")
    with pytest.raises(BadFootprint, match=r"plain\.png: no position.*located scenes"):
        run_dates([str(tmp_path / "plain.png")], [spring], tile_size=TILE, encoder=encoder)


def test_intervals_hold_the_mean_and_grow_with_dependence() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(20), 10)
    low, high = mean_interval(values.tolist())
    wider = mean_interval(values.tolist(), np.repeat(np.arange(20), 10).tolist())
    assert wider[0] < low < values.mean() < high < wider[1]
    assert mean_interval([0.4]) == (0.4, 0.4)
