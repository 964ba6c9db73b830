"""Requests in words, and the candidates that they choose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.adapters.base import PixelBox
from rsrag.adapters.ground.spatial import Expression, choose, gap, middle, parse, without_article
from rsrag.adapters.ground.words import class_of, is_plural, plural, singular
from rsrag.eval.datasets.expressions import KINDS, expressions
from rsrag.models.boxes import areas, as_boxes

SIZE = 100, 80
BOXES: list[PixelBox] = [(0, 0, 10, 10), (80, 5, 96, 20), (40, 30, 60, 50), (5, 60, 11, 66), (90, 70, 98, 78)]
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ships", Expression("ships")),
        ("the storage tanks near the road", Expression("storage tanks", relation="near", anchor="road")),
        ("How many ships are there?", Expression("ships", counting=True)),
        ("what is the number of basketball courts in the picture", Expression("basketball courts", counting=True)),
        ("the largest airplane", Expression("airplane", single=True, extreme="largest")),
        ("the second largest tank", Expression("tank", single=True, extreme="largest", rank=2)),
        ("three largest tanks", Expression("tanks", extreme="largest", number=3)),
        ("the ship in the upper left", Expression("ship", single=True, where="top-left")),
        ("the upper left airplane", Expression("airplane", single=True, where="top-left")),
        ("how many cars are in the top left corner?", Expression("cars", counting=True, where="top-left")),
        ("parking lots in the centre", Expression("parking lots", where="center")),
        ("leftmost tennis court", Expression("tennis court", single=True, extreme="left")),
        ("two of the vehicles next to the bridge", Expression("vehicles", number=2, relation="near", anchor="bridge")),
        ("the nearest ship to the harbor", Expression("ship", single=True, relation="nearest", anchor="harbor")),
        ("the car closest to the bridge", Expression("car", single=True, relation="nearest", anchor="bridge")),
        ("buildings to the north of the river", Expression("buildings", relation="top", anchor="river")),
        ("the cars on the bridge", Expression("cars", relation="inside", anchor="bridge")),
        ("show me all planes in the image", Expression("planes")),
        ("the track and field", Expression("track and field", single=True)),
        ("the ships on the left of the bridge", Expression("ships", relation="left", anchor="bridge")),
        ("cars on the right-hand side of the road", Expression("cars", relation="right", anchor="road")),
        ("cars on the north side of the bridge", Expression("cars", relation="top", anchor="bridge")),
        ("the cars on top of the bridge", Expression("cars", relation="inside", anchor="bridge")),
        ("ships outside the harbour", Expression("ships", relation="outside", anchor="harbour")),
        ("the ships that are not in the harbour", Expression("ships", relation="outside", anchor="harbour")),
        ("ships not near the bridge", Expression("ships", relation="far", anchor="bridge")),
        ("planes that are parked near the road", Expression("planes", relation="near", anchor="road")),
        ("the ship on the far left", Expression("ship", single=True, where="left")),
        ("find all the water", Expression("water")),
        ("all of the aircraft near the road", Expression("aircraft", relation="near", anchor="road")),
        ("how many ships are here?", Expression("ships", counting=True)),
        ("how many ships can you see", Expression("ships", counting=True)),
        ("how many ships were there?", Expression("ships", counting=True)),
        ("how many ships does this image show?", Expression("ships", counting=True)),
        ("the ships visible in this photograph", Expression("ships")),
        ("can you find the airplane?", Expression("airplane", single=True)),
        ("the 2nd largest tank", Expression("tank", single=True, extreme="largest", rank=2)),
        ("ship in the lower right hand corner", Expression("ship", where="bottom-right")),
        ("the tank at the very top", Expression("tank", single=True, where="top")),
        ("the ships along the quay", Expression("ships", relation="near", anchor="quay")),
        ("the cars across the bridge", Expression("cars", relation="inside", anchor="bridge")),
        ("the bridge over the river", Expression("bridge", single=True, relation="inside", anchor="river")),
        ("the ship and the tank", Expression("ship and the tank")),
    ],
)
def test_requests_are_read(text: str, wanted: Expression) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["", "  ", "the", "where is it?", "show me the", "?!", "how many"])
def test_requests_without_a_target_name_none(text: str) -> None:
    assert not any(letter.isalpha() for letter in parse(text).target) or parse(text).target == "how many"


@pytest.mark.parametrize(
    "text",
    [
        "the largest", "largest", "the two largest", "the second largest", "three", "the three", "the first",
        "the nearest", "closest", "the nearest to the bridge", "the largest one", "the second one", "the nearest ones",
        "where are they", "the upper left one", "the ones near the bridge", "the 3 largest in the picture",
    ],
)  # fmt: skip
def test_words_of_size_number_and_pointing_are_no_target(text: str) -> None:
    assert parse(text).target == ""


@pytest.mark.parametrize(
    ("text", "target"),
    [("runway one", "runway one"), ("the first nations reserve", "first nations reserve"), ("two piers", "piers")],
)
def test_a_target_may_hold_such_words(text: str, target: str) -> None:
    assert parse(text).target == target


@pytest.mark.parametrize(
    ("text", "left"),
    [("the ships", "ships"), ("A river", "river"), ("of  the Alps", "Alps"), ("theatre", "theatre"), ("the", ""),
     ("those of the ships", "ships"), ("", "")],
)  # fmt: skip
def test_articles_are_dropped(text: str, left: str) -> None:
    assert without_article(text) == left


@given(st.text(max_size=120))
def test_any_text_is_read(text: str) -> None:
    found = parse(text)
    assert found.rank >= 1
    assert found.number is None or found.number >= 1


def chosen(text: str, others: Sequence[PixelBox] = ()) -> list[int]:
    return choose(parse(text), BOXES, SCORES, SIZE, lambda _: others)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("ships", [0, 1, 2, 3, 4]),
        ("the ship", [0]),
        ("two ships", [0, 1]),
        ("the largest ship", [2]),
        ("the second largest ship", [1]),
        ("the smallest ship", [3]),
        ("the two smallest ships", [3, 4]),
        ("the leftmost ship", [0]),
        ("the rightmost ship", [4]),
        ("the ship in the lower left", [3]),
        ("the ship in the middle", [2]),
        ("ships on the right", [4, 1]),
        ("ships in the bottom right corner", [4]),
        ("the topmost ship", [0]),
    ],
)
def test_words_of_place_and_size_choose(text: str, rows: list[int]) -> None:
    assert chosen(text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("the leftmost ships", [0, 3]),  # of other sizes, equally far to the left
        ("the rightmost ships", [4, 1]),
        ("the northernmost ships", [0, 1]),
        ("the bottommost ships", [4]),
        ("the largest ships", [2]),
    ],
)
def test_plurals_of_a_side_go_by_place_and_of_a_size_by_size(text: str, rows: list[int]) -> None:
    assert chosen(text) == rows


@pytest.mark.parametrize("text", ["① ships", "² ships", "9" * 5000 + " ships"])
def test_signs_that_are_no_numbers_are_words(text: str) -> None:
    assert parse(text).number is None and parse(text).target == text


def test_relations_choose() -> None:
    bridge: PixelBox = (70, 60, 88, 76)
    assert chosen("the ship nearest to the bridge", [bridge]) == [4]
    assert chosen("ships near the bridge", [bridge]) == [4, 2]
    assert chosen("ships above the bridge", [bridge]) == [2, 1, 0]
    assert chosen("ships left of the bridge", [bridge])[0] in (2, 3)
    assert 4 not in chosen("ships left of the bridge", [bridge])
    assert chosen("the ships on the bridge", [(85, 65, 99, 79)]) == [4]
    assert chosen("the ships outside the bridge", [(85, 65, 99, 79)]) == [0, 1, 2, 3]
    assert chosen("ships near the bridge", []) == []
    assert chosen("the ship near the ship", [BOXES[0]]) != [0]


@given(st.tuples(*[st.floats(0, 50)] * 4), st.tuples(*[st.floats(0, 50)] * 4))
def test_gaps_are_symmetric_and_zero_where_boxes_touch(one: tuple[float, ...], two: tuple[float, ...]) -> None:
    a = (one[0], one[1], one[0] + one[2], one[1] + one[3])
    b = (two[0], two[1], two[0] + two[2], two[1] + two[3])
    assert gap(a, b) == gap(b, a)
    apart = b[0] > a[2] or a[0] > b[2] or b[1] > a[3] or a[1] > b[3]
    assert (gap(a, b) > 0) == apart or math.isclose(gap(a, b), 0, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("phrase", "classes", "unheard"),
    [
        ("planes", ("airplane",), ""),
        ("White cars", ("vehicle",), "white"),
        ("oil tanks", ("storage tank",), ""),
        ("harbour", ("harbor",), ""),
        ("sports fields", ("baseball diamond", "tennis court", "basketball court", "ground track field"), ""),
        ("track and field", ("ground track field",), ""),
        ("ships between the pier and the bridge", ("ship",), "between the pier and the bridge"),
        ("white ships larger than 50 m", ("ship",), "white larger than 50 m"),
        ("a tank to the north-east of the bridge", ("storage tank",), "a to the north east of the bridge"),
        ("ships and tanks", ("ship", "storage tank"), ""),
        ("red cars or trucks", ("vehicle",), "red"),
    ],
)
def test_phrases_mean_classes(phrase: str, classes: tuple[str, ...], unheard: str) -> None:
    known = class_of(phrase)
    assert known is not None
    assert (known.classes, known.unheard) == (classes, unheard)


@pytest.mark.parametrize(
    "phrase", ["water", "football field", "parking lot", "swimming pools", "", "planet", "parking lots without cars"]
)
def test_other_phrases_mean_none(phrase: str) -> None:
    assert class_of(phrase) is None


def test_the_text_encoder_sees_likeness_and_difference() -> None:
    from rsrag.config import Settings
    from rsrag.models import registry

    encode = registry.load(registry.find("mini-text"), Settings()).encode_questions
    sailboat = class_of("sailboats", encode)
    assert sailboat is not None
    assert (sailboat.classes, sailboat.alike) == (("ship",), "boat")
    for other in ("football pitch", "soccer field", "river", "road", "swimming pool", "hangar", "trees"):
        assert class_of(other, encode) is None, other


@pytest.mark.parametrize(
    ("one", "many"), [("ship", "ships"), ("storage tank", "storage tanks"), ("bus", "buses"), ("ferry", "ferries"),
                      ("beach", "beaches"), ("aircraft", "aircraft"), ("ship and tank", "ships and tanks"),
                      ("ship between the piers", "ships between the piers")],
)  # fmt: skip
def test_singular_and_plural(one: str, many: str) -> None:
    assert singular(many) == one
    assert plural(one) == many
    assert not is_plural(one)


# Expressions made from boxes


@given(st.integers(0, 10_000))
def test_expressions_are_true_of_one_box_and_choose_it(seed: int) -> None:
    """What the generator says, the parser understands and the chooser finds, when the boxes are right."""
    import numpy as np

    rng = np.random.default_rng(seed)
    width, height = 300, 200
    boxes = {}
    for name, count in (("ship", rng.integers(0, 6)), ("bridge", rng.integers(0, 3)), ("storage tank", 1)):
        corner = rng.uniform([0, 0], [width - 60, height - 60], (count, 2))
        boxes[name] = as_boxes(np.hstack([corner, corner + rng.uniform(6, 60, (count, 2))]))
    for said in expressions(boxes, width, height, most=50, seed=seed):
        read = parse(said.text)
        assert read.single
        assert read.target == said.name
        own = [tuple(float(v) for v in box) for box in boxes[said.name]]
        anchors = [tuple(float(v) for v in box) for box in boxes.get(read.anchor or "", [])]
        scores = rng.random(len(own)).tolist()
        found = choose(read, own, scores, (width, height), lambda _, a=anchors: a)  # type: ignore[misc]
        assert found[0] == said.row, said


def test_expressions_are_seeded_limited_and_of_all_kinds() -> None:
    boxes = {"ship": as_boxes(BOXES), "bridge": as_boxes([[70, 60, 88, 76]])}
    every = expressions(boxes, *SIZE, most=100)
    assert {said.kind for said in every} == set(KINDS)
    assert len(expressions(boxes, *SIZE, most=3)) == 3
    assert expressions(boxes, *SIZE, seed=5) == expressions(boxes, *SIZE, seed=5)
    assert expressions({"ship": as_boxes([])}, *SIZE) == []
    largest = next(said for said in every if "largest" in said.text)
    assert largest.row == int(areas(as_boxes(BOXES)).argmax())
    assert middle(BOXES[0]) == (5, 5)
