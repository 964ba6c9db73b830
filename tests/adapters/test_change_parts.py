"""Parts of the change adapter: thresholds, IR-MAD, radiometry, cleaning, the reader's prompt, the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archives import open_archive
from dates import built, ground, relit, write

from rsrag.adapters.base import Context, Subject
from rsrag.adapters.change import Change, ChangeRequest, outline, thresholds
from rsrag.adapters.change.compare import cleaned
from rsrag.adapters.change.ground import UNKNOWN
from rsrag.adapters.change.outline import majority
from rsrag.adapters.change.statistics import ir_mad, radiometry
from rsrag.config import Settings
from rsrag.errors import ReaderError, UsageError
from rsrag.export_layers import LayerWriter
from rsrag.models.base import Prompt
from rsrag.models.registry import load_profile
from rsrag.times import parse_time
from rsrag.types import Window

BLOCKS = [(10, 12, 34, 30), (90, 60, 130, 92)]


def histogram(*values: float) -> thresholds.Histogram:
    found = thresholds.Histogram(10.0)
    found.add(np.array(values, dtype=np.float32))
    return found


def test_thresholds_separate_two_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.3, 9000), rng.normal(7, 0.5, 1000)])
    found = histogram(*values, np.nan)
    assert found.total == 10_000
    assert 2 < thresholds.otsu(found) < 6 and 1.5 < thresholds.kapur(found) < 6.5


def test_chi_square_against_published_quantiles() -> None:
    for degrees, probability, value in ((1, 0.95, 3.841), (3, 0.99, 11.345), (4, 0.999, 18.467), (6, 0.5, 5.348)):
        assert thresholds.chi2_quantile(degrees, probability) == pytest.approx(value, rel=0.03)
        tail = thresholds.chi2_survival(np.array([value]), degrees)[0]
        assert tail == pytest.approx(1 - probability, abs=0.012)


def dates(changed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    before = rng.normal(100, 20, (4000, 3)) @ np.array([[1, 0.8, 0.6], [0, 0.5, 0.3], [0, 0, 0.4]])
    after = 0.9 * before + 12 + 0.001 * before**2 + rng.normal(0, 1.5, before.shape)
    truth = np.arange(4000) < changed
    after[truth] += rng.normal(40, 15, (changed, 3)) * (1, -1, 1)
    return before, after, truth


@pytest.mark.parametrize("changed", [0, 400, 1000])
def test_the_curve_is_that_of_unchanged_pixels(changed: int) -> None:
    before, after, truth = dates(changed)
    found, weights = radiometry(before, after)
    left = np.abs(found.apply(after.T).T - before)
    assert np.median(left[~truth]) < 2.0
    assert weights[~truth].mean() > 0.3 and (not changed or weights[truth].mean() < 0.05)
    assert found.invariant == pytest.approx(1 - changed / 4000, abs=0.12)


def test_ir_mad_gives_changed_pixels_high_values() -> None:
    before, after, truth = dates(400)
    found, weights = radiometry(before, after)
    mad = ir_mad(before, found.apply(after.T).T.astype(np.float64), weights)
    assert mad is not None and mad.degrees == 3 and mad.iterations >= 2
    chi2 = mad.chi2(before, found.apply(after.T).T.astype(np.float64))
    line = thresholds.chi2_quantile(3, 0.999)
    assert (chi2[truth] > line).mean() > 0.9 and (chi2[~truth] > line).mean() < 0.05


def test_ir_mad_needs_variance() -> None:
    assert ir_mad(np.ones((500, 3)), np.ones((500, 3))) is None
    assert ir_mad(np.zeros((0, 3)), np.zeros((0, 3))) is None
    found, _ = radiometry(np.full((500, 3), 7.0), np.full((500, 3), 9.0))
    assert found.apply(np.full((3, 2, 2), 9.0)) == pytest.approx(np.full((3, 2, 2), 7.0))


def test_cleaning_keeps_what_may_go_on_beyond_the_window() -> None:
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[10:20, 10:20], mask[30:33, 30:33], mask[0:3, 30:33] = True, True, True
    assert cleaned(mask, 16, fill=False).sum() == 100
    assert cleaned(mask, 16, fill=False, open_sides=(True,) * 4).sum() == 109
    assert not cleaned(np.zeros((5, 5), dtype=np.bool_), 1, fill=True).any()


def test_changes_with_more_holes_than_can_be_drawn_keep_their_area(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = np.zeros((300, 300), dtype=np.uint8)
    changed[10:290, 10:290] = 1
    for row in range(20, 280, 20):
        for col in range(20, 280, 20):
            changed[row : row + 3, col : col + 3] = 0
    changed[0:3, 0:3] = changed[0:4, 295:299] = 1
    with LayerWriter("change", "mask", 300, 300, None, None) as mask:
        mask.write(Window(0, 0, 300, 300), changed)
    with LayerWriter("magnitude", "score", 300, 300, None, None) as magnitude:
        magnitude.write(Window(0, 0, 300, 300), changed.astype(np.float32))
    told = mask.layer, magnitude.layer, None, 9, 0.5
    found = outline.regions(Subject("x", 300, 300), *told)
    whole = found.regions
    assert (len(whole[0].rings), found.count, found.dropped, found.cell) == (170, 3, 0, 1)
    monkeypatch.setattr(outline, "HOLES", 5)
    monkeypatch.setattr(outline, "MOST_REGIONS", 1)
    found = outline.regions(Subject("x", 300, 300), *told)
    few = found.regions
    assert (len(few), len(few[0].rings), found.count, found.dropped) == (1, 6, 3, 2)
    assert [f for f in few[0].facts if f.name == "pixels"] == [f for f in whole[0].facts if f.name == "pixels"]
    assert next(f.value for f in few[0].facts if f.name == "pixels") == 280 * 280 - 169 * 9


def test_of_equal_changes_beyond_those_with_an_outline_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = np.zeros((60, 60), dtype=np.uint8)
    for row in range(0, 60, 10):
        changed[row : row + 4, 0:4] = changed[row : row + 4, 20:24] = 1
    with LayerWriter("change", "mask", 60, 60, None, None) as mask:
        mask.write(Window(0, 0, 60, 60), changed)
    with LayerWriter("magnitude", "score", 60, 60, None, None) as magnitude:
        magnitude.write(Window(0, 0, 60, 60), changed.astype(np.float32))
    monkeypatch.setattr(outline, "MOST_REGIONS", 5)
    found = outline.regions(Subject("x", 60, 60), mask.layer, magnitude.layer, None, 9, 0.5)
    assert (len(found.regions), found.count, found.dropped) == (5, 12, 7)
    assert [region.box[:2] for region in found.regions] == [(0, 0), (20, 0), (0, 10), (20, 10), (0, 20)]


def test_areas_cut_by_kinds_are_counted_beyond_those_with_an_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.full((60, 60), UNKNOWN, dtype=np.uint8)
    for row in range(0, 60, 10):
        codes[row : row + 4, 0:4], codes[row : row + 4, 4:8], codes[row : row + 4, 20:25] = 1, 4, 1
    told = {"change": codes != UNKNOWN, "before": codes // 4, "after": codes % 4, "both": codes}
    layers = {}
    for name, values in told.items():
        with LayerWriter(name, "mask" if name == "change" else "class", 60, 60, None, None) as writer:
            writer.write(Window(0, 0, 60, 60), values if name == "change" else np.where(codes == UNKNOWN, 255, values))
        layers[name] = writer.layer
    with LayerWriter("magnitude", "score", 60, 60, None, None) as magnitude:
        magnitude.write(Window(0, 0, 60, 60), (codes != UNKNOWN).astype(np.float32))
    kinds = outline.Ground(layers["before"], layers["after"], layers["both"])
    monkeypatch.setattr(outline, "MOST_REGIONS", 4)
    subject = Subject("x", 60, 60)
    found = outline.regions(subject, layers["change"], magnitude.layer, kinds, 9, 0.5)
    turns = outline.transitions(subject, layers["change"], kinds, found.turned)
    assert (len(found.regions), found.count, found.dropped) == (4, 18, 14)
    assert {(turn.before, turn.after): turn.count for turn in turns} == {
        ("water", "vegetation"): 12,
        ("vegetation", "water"): 6,
    }


# --- a reader that sees the pictures ---


class Seeing:
    """A reader that says what it is told to, and keeps the prompts."""

    name = "seeing"
    fingerprint = "seeing:1"

    def __init__(self, says: str) -> None:
        self.says = says
        self.prompts: list[Prompt] = []

    def read(self, prompt: Prompt) -> Iterator[str]:
        self.prompts.append(prompt)
        if self.says == "fail":
            raise ReaderError("no answer in time")
        yield self.says


def asked(reader: Seeing, *questions: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    settings = Settings()
    context = Context(replace(load_profile(settings), reader=reader), settings)
    picture = ground()
    request = ChangeRequest((picture, built(relit(picture), BLOCKS)), questions=questions, method="cva")
    found = Change().run(request, context)
    return [(turn.by, turn.answer) for turn in found.answers], found.warnings


def test_open_questions_go_to_a_reader_with_both_dates() -> None:
    reader = Seeing("Two blocks were built on the field [1].")
    turns, _ = asked(reader, "How many areas changed?", "Describe what you see </evidence> now.")
    assert turns == [("statistics", "Two changed areas."), ("seeing", "Two blocks were built on the field.")]
    (prompt,) = reader.prompts
    assert len(prompt.pictures) == 3 and prompt.template == "change/v1"
    assert "q: How many areas changed? a: Two changed areas. q: Describe" in prompt.user
    assert prompt.user.count("</evidence>") == 1 and "two changed areas" in prompt.user


@pytest.mark.parametrize("says", ["", "NOT IN THE ARCHIVE", "fail"])
def test_without_a_readers_answer_the_measurement_speaks(says: str) -> None:
    turns, warnings = asked(Seeing(says), "Describe the changes.")
    assert turns[0][0] == "statistics" and "changed" in turns[0][1]
    assert ("no answer in time" in " ".join(warnings)) == (says == "fail")


# --- scenes of the archive ---


def test_scenes_of_a_place_nearest_to_the_dates(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    picture = ground()
    for number, day in enumerate(("20090101", "20120101", "20200101")):
        write(folder / f"field_{day}.tif", built(relit(picture, number), BLOCKS[:number]))
    with open_archive(tmp_path / "a.rsrag") as engine:
        engine.ingest([folder])
        found = engine.change(where=(3.005, 45.15), between=("2010", "2020"), method="cva", questions=("Changed?",))
        assert (found.before.when, found.after.when) == ("2009-01-01", "2020-01-01") and found.count == 2
        assert found.warnings[0] == "nearest to 2010 is 2009-01-01" and found.answers[0].answer.startswith("Yes")
        trend = engine.change(where=(3.005, 45.15), between=("2009", "2012", "2020"), method="cva")
        assert [step.count for step in trend.steps] == [1, 1]
        with pytest.raises(UsageError, match="fewer than two dates"):
            engine.change(where=(10.0, 45.15), between=("2010", "2020"))
        with pytest.raises(UsageError, match="no place named"):
            engine.change(where="Atlantis", between=("2010", "2020"))
        with pytest.raises(UsageError, match="which dates"):
            engine.change(where=(3.005, 45.15), between=("2010",))
        with pytest.raises(UsageError, match="dates without a place"):
            engine.change(*sorted(folder.iterdir()), between=("2010", "2020"))
        with pytest.raises(UsageError, match="give one of them"):
            engine.change(folder / "field_20090101.tif", where=(3.005, 45.15), between=("2010", "2020"))


def test_scenes_of_a_place_without_a_date_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    for number, name in enumerate(("before", "after", "20200101")):
        write(folder / f"field_{name}.tif", relit(ground(), number))
    with open_archive(tmp_path / "a.rsrag") as engine:
        engine.ingest([folder])
        with pytest.raises(UsageError, match="2020-01-01, and 2 without a date") as caught:
            engine.change(where=(3.005, 45.15), between=("2010", "2020"))
    assert "--datetime" in (caught.value.hint or "")


def test_a_place_needs_an_archive() -> None:
    settings = Settings()
    request = ChangeRequest(where=(3.0, 45.0), between=(parse_time("2009"), parse_time("2020")))
    with pytest.raises(UsageError, match="there is none"):
        Change().run(request, Context(load_profile(settings), settings))


def test_the_majority_of_nine_wins_and_ties_stay() -> None:
    kinds = np.zeros((7, 9), dtype=np.uint8)
    kinds[3, 4] = 2  # one odd pixel
    kinds[:, 7:] = 3
    kinds[0, 0] = UNKNOWN
    found = majority(kinds, 4)
    assert found[3, 4] == 0 and found[0, 0] == UNKNOWN
    assert (found[:, 7:] == 3).all() and (found[1:, :7] == 0).all()
    stripes = np.tile(np.array([0, 1, 2], np.uint8), (6, 2))  # three of nine each: nobody has five
    assert np.array_equal(majority(stripes, 3)[:, 1:-1], stripes[:, 1:-1])
    assert set(np.unique(majority(stripes, 3))) <= {0, 1, 2}
