"""What is printed cannot steer the terminal, and JSON is JSON."""

from __future__ import annotations

import io
import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rsrag import geo
from rsrag.cli.jsonform import plain
from rsrag.cli.render import show_answer, show_hits, show_record
from rsrag.cli.text import line, one_line
from rsrag.types import (
    Answer,
    BBox,
    Document,
    Evidence,
    Fact,
    Hit,
    ItemError,
    Location,
    Passage,
    Place,
    Provenance,
    Scene,
    Sentence,
    Tile,
    TimeSpan,
    Window,
)

EVIL = "\x1b[2J\x1b]0;owned\x07[bold red]Name[/bold red]\x9b31m\u202e\r\nsecond line\x00"
HERE = geo.footprint_from_bbox(BBox(10, 40, 12, 42))
WHEN = TimeSpan(datetime(2020, 5, 31, tzinfo=UTC), None)


def answer(name: str) -> Answer:
    tile = Tile("t1", "s1", Window(0, 0, 64, 64), 1.0, "d", -1, HERE, (Fact("ndvi_mean", 0.43), Fact(name, name)))
    scene = Scene("s1", f"/data/{name}", "d", name, 64, 64, (), HERE, sensor=name, title=name, time=WHEN)
    place = Place("p1", name, "src", 10.5, 40.5, name, name)
    passage = Passage("q1", "d1", 0, f"{name} is an island.", place_id="p1", sources=(name,))
    hits = (
        Hit("tile", "t1", 0.9, {name: 0.8}, tile=tile, scene=scene, match=HERE),
        Hit("passage", "q1", 0.5, {}, passage=passage, document=Document("d1", name, "x", name), place=place),
        Hit("passage", "q2", 0.4, {}, passage=replace(passage, id="q2", lon=1.0, lat=2.0)),
    )
    evidence = tuple(Evidence(n, hit, name) for n, hit in enumerate(hits, start=1))
    sentences = (Sentence(f"This is {name}.", (1, 2)), Sentence(name, (), False))
    made = Provenance({name: name}, name, "0.1.0", {name: 0.1})
    location = Location(11, 41, "agreement", 0.7, 15, HERE)
    return Answer(name, sentences, evidence, False, 0.4, made, location=location, warnings=(name,))


def console(width: int = 100) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


# --- terminals ------------------------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_lines_hold_nothing_but_visible_text(text: str) -> None:
    shown = one_line(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in shown)
    assert line(text).plain.strip() == shown


def test_square_brackets_are_no_markup() -> None:
    screen = console()
    screen.print(line("[bold]x[/bold] [link=file:///etc/passwd]y[/link]"))
    assert printed(screen) == "[bold]x[/bold] [link=file:///etc/passwd]y[/link]\n"


def test_nothing_from_the_archive_steers_the_terminal() -> None:
    found = answer(EVIL)
    screen = console()
    show_answer(screen, found, verbose=True)
    show_answer(screen, replace(found, abstained=True, reason=EVIL))
    show_hits(screen, [e.hit for e in found.evidence], found.location, verbose=True)
    show_record(screen, EVIL, [(EVIL, EVIL), ("id", 3)], f"{EVIL}\n\n{EVIL}")
    text = printed(screen)
    assert "[bold red]Name[/bold red]" in text
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"]


def test_answer_for_people() -> None:
    screen = console()
    show_answer(screen, answer("Thasos"))
    text = printed(screen)
    expected = (
        "This is Thasos. [1] [2]|Thasos (unsupported)|41.0000° N, 11.0000° E|± 15 km|confidence 0.70|NDVI: mean 0.43"
        "|[1] Thasos  tile  0.900|2020-05-31/..|verified by geometry|columns 0+64, rows 0+64"
        "|  ! Thasos|  Confidence 0.40"
    )
    for words in expected.split("|"):
        assert words in text, words
    assert "q1" not in text
    uncited = text[text.index("[3]") :]
    assert "island" not in uncited


def test_long_titles_stay_in_their_column() -> None:
    screen = console(60)
    hit = replace(answer("x").evidence[1].hit, place=Place("p", "Very long name " * 12, "s", 0, 0))
    show_hits(screen, [hit])
    assert all(row.startswith("      ") for row in printed(screen).splitlines()[1:])


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_json_form() -> None:
    shown = plain(answer("Thasos"))
    assert shown["text"].startswith("This is Thasos. [1] [2]")
    tile = shown["evidence"][0]["hit"]
    assert tile["title"] == "Thasos"
    assert tile["tile"]["footprint"]["type"] == "Polygon"
    assert tile["tile"]["bbox"] == [10, 40, 12, 42]
    assert tile["tile"]["phash"] == "f" * 16
    assert tile["tile"]["window"] == {"col": 0, "row": 0, "width": 64, "height": 64}
    assert tile["scene"]["time"] == {"start": "2020-05-31T00:00:00Z", "end": None}
    assert "passage" not in tile
    assert plain([float("nan"), float("inf"), np.float32(0.5), Path("/x"), None, True]) == [
        None, None, 0.5, "/x", None, True,
    ]  # fmt: skip
    assert plain(ItemError("a.tif", "Code", "why")) == {"source": "a.tif", "code": "Code", "reason": "why"}


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=10))
def test_everything_becomes_valid_json(value: object) -> None:
    json.dumps(plain(value), allow_nan=False)


def test_style_of_a_line_does_not_spread() -> None:
    text = line("error: ", "bold red").append_text(line(" what"))
    assert text.plain == "error:  what"
    assert [(s.start, s.end, s.style) for s in text.spans] == [(0, 7, "bold red")]
    assert text.style == ""
