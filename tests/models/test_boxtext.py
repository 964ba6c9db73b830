"""Box conventions of vision-language models, and answers that cannot be trusted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import ConfigError
from rsrag.models import registry
from rsrag.models.boxtext import MOST, BoxConvention, read_boxes

SPANS = ("absolute pixels", "0-1000", "0-100", "0-1", "0-999")
ORDERS = ("xyxy", "yxyx", "xywh", "yxhw", "cxcywh")
THOUSANDTHS = BoxConvention.from_text("0-1000")


@st.composite
def pictures_and_boxes(draw: st.DrawFn) -> tuple[int, int, tuple[float, float, float, float]]:
    width, height = draw(st.integers(32, 4000)), draw(st.integers(32, 4000))
    left, top = draw(st.floats(0, width - 16)), draw(st.floats(0, height - 16))
    right, bottom = draw(st.floats(left + 4, width)), draw(st.floats(top + 4, height))
    return width, height, (left, top, right, bottom)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("order", ORDERS)
@given(case=pictures_and_boxes())
def test_what_is_written_is_read_back(
    span: str, order: str, case: tuple[int, int, tuple[float, float, float, float]]
) -> None:
    width, height, box = case
    convention = BoxConvention.from_text(f"{span} {order}")
    numbers = convention.from_pixels(box, width, height)
    found = read_boxes(json.dumps([{"bbox_2d": numbers, "label": "ship"}]), convention, width, height)
    assert found.labels == ("ship",)
    assert found.boxes[0] == pytest.approx(box, abs=1e-6 * max(width, height))


@given(st.text(max_size=300), st.integers(1, 500), st.integers(1, 500))
def test_any_text_gives_boxes_inside_the_picture_or_none(text: str, width: int, height: int) -> None:
    for box in read_boxes(text, THOUSANDTHS, width, height).boxes:
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height


@given(st.lists(st.lists(st.floats(width=32), min_size=4, max_size=4), max_size=20))
def test_any_numbers_give_boxes_inside_the_picture_or_a_warning(rows: list[list[float]]) -> None:
    found = read_boxes(json.dumps(rows), BoxConvention(), 200, 100)
    assert all(0 <= b[0] < b[2] <= 200 and 0 <= b[1] < b[3] <= 100 for b in found.boxes)
    if rows and not found.boxes:
        assert found.warnings


@pytest.mark.parametrize(
    "text",
    [
        '[{"bbox_2d": [100, 200, 300, 400], "label": "ship"}]',
        '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "ship"}]\n```',
        'Sure! {"objects": [{"box": [[100, 200], [300, 400]], "name": "ship"}]} I hope this helps.',
        '[{"bbox_2d": [100, 200, 300, 400], "label": "ship"}, {"bbox_2d": [1, 2',
    ],
)
def test_json_in_its_forms(text: str) -> None:
    found = read_boxes(text, THOUSANDTHS, 500, 1000)
    assert found.boxes == ((50, 200, 150, 400),)
    assert found.labels == ("ship",)


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox_2d": [100, 200, 300, 400], "label": "ship"}\n{"bbox_2d": [500, 500, 900, 600], "label": "ship"}',
        '{"bbox_2d": [100, 200, 300, 400], "label": "ship"}, {"bbox_2d": [500, 500, 900, 600], "label": "ship"}',
        '[{"bbox_2d": [100, 200, 300, 400], "label": "ship"}]\n[{"bbox_2d": [500, 500, 900, 600], "label": "ship"}]',
        '```json\n{"bbox_2d": [100, 200, 300, 400], "label": "ship"}\n```\nand\n```json\n'
        '{"bbox_2d": [500, 500, 900, 600], "label": "ship"}\n```',
        '{"bbox_2d": [100, 200, 300, 400], "label": "ship"}\n{"bbox_2d": [500, 500, 900, 600], "label": "ship"}\n{"bb',
    ],
)
def test_objects_that_follow_one_another_are_all_read(text: str) -> None:
    assert read_boxes(text, THOUSANDTHS, 500, 1000).boxes == ((50, 200, 150, 400), (250, 500, 450, 600))


@pytest.mark.parametrize("blank", [" ", "\n", ",", "]", "<"])
def test_a_long_run_of_blanks_is_read_at_once(blank: str) -> None:
    assert read_boxes("[1" + blank * 50_000, THOUSANDTHS, 500, 1000).boxes == ()
    assert read_boxes("[1, 2" + blank * 50_000 + "(3, x", THOUSANDTHS, 500, 1000).boxes == ()


@pytest.mark.parametrize(
    "text",
    [
        "The ship is at [100, 200, 300, 400].",
        "<box>(100,200),(300,400)</box>",
        "{<100><200><300><400>}",
        "[[100, 200, 300, 400]]",
    ],
)
def test_groups_of_four_numbers(text: str) -> None:
    assert read_boxes(text, THOUSANDTHS, 500, 1000).boxes == ((50, 200, 150, 400),)


def test_bad_boxes_are_dropped_and_counted() -> None:
    rows = [[0, 0, 10, 10], [0, 0, 10, 10], [-5, 2, 20, 30], [300, 0, 310, 10], [5, 5, 5, 9]]
    text = json.dumps([{"bbox": row} for row in rows] + [{"bbox": "everywhere"}])
    found = read_boxes(text, BoxConvention(), 100, 80)
    assert found.boxes == ((0, 0, 10, 10), (0, 2, 20, 30))
    assert set(found.warnings) == {
        "1 box of the model: repeated",
        "1 box of the model: clipped to the picture",
        "1 box of the model: outside of the picture",
        "1 box of the model: smaller than a pixel",
        "1 box of the model: not four numbers",
    }


def test_corners_in_the_wrong_order_are_swapped() -> None:
    assert read_boxes("[30, 40, 10, 20]", BoxConvention(), 100, 80).boxes == ((10, 20, 30, 40),)


def test_an_endless_answer_ends() -> None:
    text = " ".join(f"[{n % 90}, {n % 70}, {n % 90 + 5 + n / 10000}, {n % 70 + 5}]" for n in range(MOST + 50))
    found = read_boxes(text, BoxConvention(), 100, 80)
    assert len(found.boxes) == MOST
    assert "50 boxes of the model: too many" in found.warnings


@pytest.mark.parametrize("text", ["", "0-7", "0-1000 zyx", "pixels xyxy more"])
def test_unknown_conventions_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="box convention"):
        BoxConvention.from_text(text)


def test_every_convention_of_the_registry_is_known() -> None:
    told = {row.name: row.options["boxes"] for row in registry.MODELS if "boxes" in row.options}
    assert BoxConvention.from_text(told["qwen3-vl-4b"]) == BoxConvention(1000.0, "xyxy")
    assert BoxConvention.from_text(told["qwen2.5-vl-3b"]) == BoxConvention(None, "xyxy")
    assert all(BoxConvention.from_text(text) for text in told.values())
