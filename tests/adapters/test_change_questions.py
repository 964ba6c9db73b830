"""What questions about a change ask for, and the answers that the statistics give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.adapters.base import Region, Subject
from rsrag.adapters.change.describe import CELL_NAMES, caption, listed, places, sentences, where
from rsrag.adapters.change.pair import Acquisition
from rsrag.adapters.change.questions import Asked, answer, understand
from rsrag.adapters.change.request import ChangeResult, Transition
from rsrag.adapters.change.trend import statements
from rsrag.times import parse_time
from rsrag.types import Fact


def result(*, changed: bool = True, located: bool = True, kinds: bool = True) -> ChangeResult:
    """Two hectares of new buildings and one of new water on a grid of 300 by 300."""
    area = (lambda pixels: 100.0 * pixels) if located else (lambda pixels: None)
    cells = dict.fromkeys(CELL_NAMES, 0.0) | ({"top-left": 0.15, "center": 0.05} if changed else {})
    facts = (Fact("cell", "top-left", ""), Fact("area", 15_000.0, "m2") if located else Fact("pixels", 150.0, "px"))
    told = (
        Transition("vegetation", "built-up", 3, 200, area(200), ("top-left",)),
        Transition("vegetation", "water", 1, 100, area(100), ("center",)),
    )
    return ChangeResult(
        "change", Subject("a → b", 300, 300),
        regions=(Region("vegetation to built-up", 0.9, (0, 0, 10, 15), facts=facts),) if changed else (),
        before=Acquisition("a", parse_time("2009"), "a"), after=Acquisition("b", parse_time("2020"), "b"),
        changed=changed, share=300 / 90_000 if changed else 0.0, compared=1.0,
        area_m2=area(300) if changed else area(0), count=4 if changed else 0, cells=cells,
        transitions=told if changed and kinds else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("question", "intent", "thing", "direction"),
    [
        ("Please briefly describe the changes in these two images.", "caption", None, None),
        ("What has changed between the two dates?", "caption", None, None),
        ("Have these two images changed? Please answer yes or no.", "binary", None, None),
        ("Are there any new buildings?", "binary", "built-up", "gained"),
        ("How many buildings and roads have changed?", "count", "built-up", None),
        ("Count the changes.", "count", None, None),
        ("Where on a 3x3 grid did the changes happen?", "locate", None, None),
        ("Which part of the image lost forest?", "locate", "vegetation", "lost"),
        ("How much forest was lost?", "amount", "vegetation", "lost"),
        ("How many hectares of water were gained?", "amount", "water", "gained"),
        ("What percentage of the area changed?", "amount", None, None),
        ("What did the vegetation turn into?", "kind", "vegetation", None),
        ("What is the largest change?", "largest", None, None),
        ("When were the images taken?", "when", None, None),
        ("Was the river flooded?", "binary", "water", None),
        ("How many houses have gone up?", "count", "built-up", "gained"),
        ("How many houses are gone?", "count", "built-up", "lost"),
        ("Was any forest replaced by new buildings?", "kind", "vegetation", "lost"),
        ("Were buildings replaced by water?", "kind", "water", "gained"),
        ("Are there new buildings on the site of the demolished factory?", "binary", "built-up", "gained"),
        ("Were new houses lost?", "binary", "built-up", "lost"),
        ("How much built-up land was lost?", "amount", "built-up", "lost"),
        ("How much more forest was lost?", "amount", "vegetation", "lost"),
        ("How many more houses are there?", "count", "built-up", "gained"),
        ("Did new deforestation appear?", "binary", "vegetation", "lost"),
        ("Was water gained or lost?", "binary", "water", None),
        ("Did the vegetation increase?", "amount", "vegetation", None),
        ("Has the forest been cut down?", "binary", "vegetation", "lost"),
        ("Did the lake dry up?", "binary", "water", "lost"),
        ("Are there more or fewer houses?", "binary", "built-up", None),
        ("Did nothing change?", "amount", None, None),
        ("Is the ground not unchanged?", "amount", None, None),
        ("Was no forest lost?", "amount", "vegetation", "lost"),
        ("Did it change or not?", "binary", None, None),
        ("Why could this have happened?", "open", None, None),
    ],
)
def test_intents(question: str, intent: str, thing: str | None, direction: str | None) -> None:
    assert understand(question) == Asked(intent, thing, direction)  # type: ignore[arg-type]


def test_later_turns_refer_to_earlier_ones() -> None:
    turns: list[Asked] = []
    for question in ("Are there new buildings?", "How many?", "Where are they?", "How much did change in all?"):
        turns.append(understand(question, turns))
    assert [(t.intent, t.thing, t.direction) for t in turns] == [
        ("binary", "built-up", "gained"),
        ("count", "built-up", "gained"),
        ("locate", "built-up", "gained"),
        ("amount", None, None),
    ]


def test_a_later_turn_may_turn_the_direction() -> None:
    turns: list[Asked] = []
    for question in ("How much water was lost?", "How much was gained?", "And how much has been lost?"):
        turns.append(understand(question, turns))
    assert [(t.intent, t.thing, t.direction) for t in turns] == [
        ("amount", "water", "lost"),
        ("amount", "water", "gained"),
        ("amount", "water", "lost"),
    ]
    assert understand("How much was changed?", turns) == Asked("amount")


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Did anything change?", "Yes: 3 ha (0.3 %) changed."),
        ("How many changes are there?", "Four changed areas."),
        ("Where did it change?", "In the top-left and centre."),
        ("How much changed?", "3 ha (0.3 %) of the compared ground changed."),
        ("What is the largest change?", "The largest change (vegetation to built-up) covers 1.5 ha in the top-left."),
        ("When?", "The images compared are of 2009 and 2020."),
        ("When was the vegetation lost?", "3 ha of vegetation was lost between 2009 and 2020."),
        ("Are there new buildings?", "Yes: 2 ha of built-up was gained."),
        ("How many new buildings?", "3 areas of new built-up."),
        ("Where is the new water?", "New water: in the centre."),
        ("Was water lost?", "No: no lost water was found."),
        ("Did the vegetation increase?", "3 ha of vegetation was lost."),
        ("Did nothing change?", "3 ha (0.3 %) of the compared ground changed."),
        ("Was no vegetation lost?", "3 ha of vegetation was lost."),
        ("Was no water lost?", "No lost water was found."),
        ("How much vegetation was lost?", "3 ha of vegetation was lost."),
    ],
)
def test_answers_from_statistics(question: str, said: str) -> None:
    assert answer(understand(question), result()) == said


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Did anything change?", "No."),
        ("Did nothing change?", "None of the compared ground changed."),
        ("How many changes?", "None: no changed area was found."),
        ("Where did it change?", "Nowhere: no change was found."),
        ("How much changed?", "None of the compared ground changed."),
        ("Describe the change.", "No change was found between 2009 and 2020."),
        ("Are there new buildings?", "No. No change of built-up was found."),
    ],
)
def test_no_change_is_an_answer(question: str, said: str) -> None:
    assert answer(understand(question), result(changed=False)) == said


@pytest.mark.parametrize(
    "question",
    [
        "Did the water change?", "How many new buildings are there?", "Where was water lost?", "When did water change?",
        "Did anything change?", "Describe the change.", "What is the largest change?",
    ],
)  # fmt: skip
def test_where_nothing_could_be_compared_no_change_is_claimed(question: str) -> None:
    none = replace(result(changed=False), compared=0.0)
    assert answer(understand(question), none) == "Nothing could be compared: no pixel is valid at both dates."
    assert answer(understand("When was that?"), none) == "The images compared are of 2009 and 2020."


def test_the_largest_of_no_outlined_areas_is_no_failure() -> None:
    found = replace(result(), regions=())
    assert answer(understand("What is the largest change?"), found).endswith("changed; no single area stands out.")


def test_without_scale_shares_are_said() -> None:
    found = result(located=False)
    assert answer(understand("How much changed?"), found).startswith("0.3 % of the pixels")
    assert (
        answer(understand("Are there new buildings?"), found)
        == "Yes: built-up was gained on 67 % of the changed pixels."
    )
    assert not {"ha", "m²", "km²"} & set(" ".join(s.text for s in sentences(found)).split())


def test_kinds_that_cannot_be_told_are_not_guessed() -> None:
    found = result(kinds=False)
    assert "cannot be told" in answer(understand("Are there new buildings?"), found)
    assert "cannot be told" in answer(understand("What did it turn into?"), found)


def test_steps_without_a_scale_are_added_up_in_pixels() -> None:
    """A GeoTIFF and two pictures of its size: square metres of one step and pixels of the other make no sum."""
    assert "Open water gained 2 ha over the steps together, some of it in every step." in statements([result()] * 2)
    said = statements([result(), result(located=False)])
    assert said[0] == "Step by step, what changed was 0.3 % from 2009 to 2020 and 0.3 % from 2009 to 2020."
    assert "Open water gained 200 pixels over the steps together, some of it in every step." in said


def test_captions_and_places() -> None:
    assert caption(result()) == "a few buildings are built on the vegetation in the top-left"
    assert caption(result(changed=False)) == "nothing has changed"
    assert places(result()) == ("top-left", "center") and places(result(changed=False)) == ()
    assert where(CELL_NAMES) == "all over the area" and where(("center",)) == "in the centre"
    assert listed(("a", "b", "c")) == "a, b and c"


@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    assert answer(understand(text), result()) and answer(understand(text), result(changed=False))
