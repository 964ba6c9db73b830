"""Questions reach the task they are about, and knowledge questions stay where they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.route import TASKS, chosen, route


@pytest.mark.parametrize(
    ("question", "task", "target"),
    [
        ("How many airplanes are there in this image?", "count", "airplanes"),
        ("how many storage tanks can you see", "count", "storage tanks"),
        ("Count the ships.", "count", "ships"),
        ("Count all tennis courts near the road", "count", "tennis courts"),
        ("Where are the ships in this image?", "locate", "ships"),
        ("Find the baseball diamond", "locate", "baseball diamond"),
        ("Show me the storage tanks near the road", "locate", "storage tanks"),
        ("Outline the lake", "outline", "lake"),
        ("Segment all water in the scene", "outline", "water"),
        ("What has changed here since 2009?", "change", ""),
        ("What changed between 2009 and 2020?", "change", ""),
        ("Did the lake shrink between 1985 and 2020?", "change", ""),
        ("Are there new buildings since 2017?", "change", ""),
        ("Did the river move between 1985 and 2020?", "change", ""),
        ("Has the glacier retreated since 1985?", "change", ""),
        ("Have roads been built since 2015?", "change", ""),
        ("Describe the differences between before and after", "change", ""),
        ("Has anything changed here?", "change", ""),
        ("Compare this place in 2009 and 2020", "change", ""),
        ("What's new here since 2016?", "change", ""),
        ("How much water is there in this image?", "outline", "water"),
        ("How much of the image is covered by water?", "outline", "water"),
        ("Are there any ships in this picture?", "locate", "ships"),
        ("Show me where the river is", "locate", "river"),
    ],
)
def test_questions_about_pixels(question: str, task: str, target: str) -> None:
    found = route(question, image=True)
    assert (found.task, found.target) == (task, target) and found.why.startswith(f"{task}: ")


@pytest.mark.parametrize(
    "question",
    [
        "How many people live in Aachen?",
        "How many visitors came in 2019?",
        "What is the NDVI here in 2012?",
        "Which lake is this?",
        "When was the cathedral built?",
        "Where is this?",
        "How large is the national park?",
        "How much water does the lake hold?",
        "Outline the history of this castle",
        "Find out who built this bridge",
        "Show me the difference between a harbour and a pier",
        "Did the capital move between 1200 and 1300?",
        "Which temple was built between 1950 and 1960?",
        "Have sites been added since 1979?",
        "",
        "?!",
    ],
)
def test_questions_of_knowledge_stay(question: str) -> None:
    assert route(question, image=True).task == "answer"


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("How many ships are near the bridge, and who built it?", "ships are near the bridge"),
        ("How many ships can you see in the left half of this image?", "ships in the left half"),
        ("Where are the ships in this image near the bridge?", "the ships near the bridge"),
        ("Find the largest tank. When was it built?", "the largest tank"),
        ("How many ships, tanks and cars are here?", "ships, tanks and cars are"),
        ("Outline the lake near the road", "the lake near the road"),
        ("What changed here since 2009?", ""),
    ],
)
def test_what_is_said_of_the_target_is_kept(question: str, phrase: str) -> None:
    assert route(question, image=True).phrase == phrase
    assert chosen("locate", question, image=True).phrase == phrase


def test_pixels_need_an_image_and_change_needs_dates() -> None:
    assert route("How many ships are there?", image=False).task == "answer"
    assert route("What changed here since 2009?", image=False).task == "answer"
    assert "--where" in route("What changed here since 2009?", image=False).missing
    assert not route("Which lake is this?", image=False).missing
    found = route("What changed here since 2009?", image=False, pair=True)
    assert (found.task, found.years) == ("change", (2009,))


@given(st.text(max_size=200), st.booleans())
def test_any_text_has_a_task(text: str, image: bool) -> None:
    found = route(text, image=image)
    assert found.task in TASKS and (found.task in ("answer", "change") or found.target)
