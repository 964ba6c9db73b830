"""A dialogue: which place a question without a name is about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rsrag
from rsrag.chat import Chat
from rsrag.cli.ask import _turn
from rsrag.cli.session import Session
from rsrag.errors import UnsupportedSource, UsageError
from rsrag.types import Answer

PLACES = """name,kind,country,lat,lon,altitude_m,depth_m
Twin Lake,lake,Finland,61.0,25.0,13,40
Twin Lake,lake,Chile,-41.0,-72.0,528,90
Far Tower,tower,Spain,40.0,-3.0,700,
"""


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    table = tmp_path / "places.csv"
    table.write_text(PLACES, encoding="utf-8")
    with rsrag.open(tmp_path / "archive", create=True) as engine:
        engine.ingest(knowledge=[table])
        yield engine.chat()


class Refusing:
    """A dialogue whose picture cannot be read; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def ask(self, question: str, **given: Any) -> Answer:
        self.asked.append(given)
        raise UnsupportedSource("passwd: a plain text, not an image")


def test_a_picture_that_cannot_be_read_is_not_tried_again(tmp_path: Path) -> None:
    dialogue: Any = Refusing()
    pending: dict[str, Any] = {"image": tmp_path / "notes.txt", "where": "Twin Lake"}
    for _ in range(2):
        with pytest.raises(UnsupportedSource):
            _turn(Session(), dialogue, "What is this?", pending)
    first, second = ({k: v for k, v in given.items() if k != "on_text"} for given in dialogue.asked)
    assert first == {"image": tmp_path / "notes.txt", "where": "Twin Lake"} and second == {"where": "Twin Lake"}


@pytest.mark.parametrize(("country", "altitude"), [("Chile", "528 m"), ("Finland", "13 m")])
def test_of_two_places_of_one_name_it_is_the_one_spoken_of(chat: Chat, country: str, altitude: str) -> None:
    assert country in chat.ask(f"Which lake lies in {country}?").text
    assert altitude in chat.ask("What is the altitude?").text


def test_a_declined_question_does_not_change_the_subject(chat: Chat) -> None:
    assert "Chile" in chat.ask("Which lake lies in Chile?").text
    assert chat.ask("What is the NDVI?").abstained  # there is no image; NDVI is a value, not a place
    assert "528 m" in chat.ask("What is the altitude?").text


def test_another_place_does_not_answer_for_it(chat: Chat) -> None:
    assert "Far Tower" in chat.ask("Where is Far Tower?").text
    assert "Twin Lake" not in chat.ask("How deep is it?").text


def test_a_place_that_cannot_be_used_does_not_stay(chat: Chat) -> None:
    with pytest.raises(UsageError, match="not on Earth"):
        chat.ask("Where is Far Tower?", where=(999.0, 0.0))
    assert "Far Tower" in chat.ask("Where is Far Tower?").text
