"""Fine attributes: tags from files and captions, and which value the encoder sees."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_encoder import install, write_classes
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import UsageError
from rsrag.eval import attributes as suite
from rsrag.eval.datasets.tags import attributes_in, default_template, read_tags, singular, tags_of_captions, write_tags


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return install(monkeypatch, tmp_path)


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# --- captions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("Many green trees are beside the road .", [("tree", "colour", "green")]),
        ("There are two storage tanks .", [("storage tank", "count", "two")]),
        ("two large white storage tanks", [("storage tank", "count", "two"), ("storage tank", "colour", "white")]),
        ("a gray and rectangular roof", [("roof", "colour", "grey"), ("roof", "shape", "rectangular")]),
        ("a sandy beach by a blue sea", [("beach", "material", "sandy"), ("sea", "colour", "blue")]),
        ("some buildings and trees", []),
        ("the green", []),
        ("two of the houses", []),
        ("green in the middle", []),
    ],
)
def test_attributes_in_a_sentence(sentence: str, found: list[tuple[str, str, str]]) -> None:
    assert attributes_in(sentence) == found


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("trees", "tree"),
        ("houses", "house"),
        ("factories", "factory"),
        ("beaches", "beach"),
        ("grass", "grass"),
        ("bus", "bus"),
    ],
)
def test_plurals(many: str, one: str) -> None:
    assert singular(many) == one


def test_two_sentences_must_agree() -> None:
    captions = {
        "a.jpg": ["a green roof", "one Green roof there", "a blue roof", "trees"],
        "b.jpg": ["a white roof"],
        "c.jpg": ["nothing", "of note"],
    }
    found = tags_of_captions(captions)
    assert found.tags == {"a.jpg": {"roof:colour": {"green"}}, "b.jpg": {"roof:colour": {"white"}}}
    assert found.sentences == {"roof:colour": "{value} roof"} and found.skipped == 1
    counts = tags_of_captions({"a.jpg": ["three tennis courts"] * 2})
    assert counts.sentences == {"tennis court:count": "{value} tennis courts"}


@given(st.text(max_size=80))
def test_any_text_has_attributes_or_none(text: str) -> None:
    assert all(len(found) == 3 for found in attributes_in(text))


# --- files ------------------------------------------------------------------------------------------------------------


def test_tags_as_objects_and_as_lists(tmp_path: Path) -> None:
    rows = [
        {"file": "a.jpg", "tags": {"Surface": "Asphalt", "lanes": [2, 4], "building": "yes"}},
        {"file": "b.jpg", "tags": ["surface=gravel", "roof:shape=gabled"]},
        {"file": "c.jpg", "tags": {"building": "yes"}},
    ]
    found = read_tags(written(tmp_path / "tags.json", rows))
    assert found.tags["a.jpg"] == {"surface": {"asphalt"}, "lanes": {"2", "4"}}
    assert found.tags["b.jpg"] == {"surface": {"gravel"}, "roof:shape": {"gabled"}}
    assert set(found.tags) == {"a.jpg", "b.jpg"} and found.skipped == 1
    assert default_template("roof:shape") == "{value} roof shape"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = tags_of_captions({"a.jpg": ["two white planes"], "b.jpg": ["a grey roof"]})
    write_tags(tmp_path / "tags.json", found)
    again = read_tags(tmp_path / "tags.json")
    assert (again.tags, again.sentences) == (found.tags, found.sentences)


def test_titles_of_skyscript(tmp_path: Path) -> None:
    lines = [
        "filepath,title",
        'x/1.jpg,"surface of asphalt, highway is track"',
        "x/2.jpg,surface of gravel and smoothness of bad",
        "x/3.jpg,a park",
    ]
    found = read_tags(written(tmp_path / "t.csv", "\n".join(lines)))
    assert found.tags["x/1.jpg"] == {"surface": {"asphalt"}, "highway": {"track"}}
    assert found.tags["x/2.jpg"] == {"surface": {"gravel"}, "smoothness": {"bad"}}
    assert found.skipped == 1


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("t.json", "{", "damaged JSON"),
        ("t.json", {"images": 3}, "not a list"),
        ("t.json", [{"tags": {}}], "no 'file'"),
        ("t.json", [{"file": "a", "tags": "surface"}], "neither an object nor a list"),
        ("t.json", [{"file": "a", "tags": {"building": "yes"}}], "no tags"),
        (
            "t.json",
            {"sentences": {"surface": "road"}, "images": [{"file": "a", "tags": ["surface=dirt"]}]},
            "no {value}",
        ),
        ("t.csv", "file,words\na,b\n", "no columns"),
        ("t.csv", 'filepath,title\na.jpg,"' + "x" * 140_000, "damaged CSV"),
        ("t.json", [{"file": "a", "tags": {"surface": None}}], "no tags"),
    ],
)
def test_what_is_no_tag_file(tmp_path: Path, name: str, content: Any, match: str) -> None:
    before = csv.field_size_limit(131_072)  # of the process: tables of places raise it
    try:
        with pytest.raises(UsageError, match=match):
            read_tags(written(tmp_path / name, content))
    finally:
        csv.field_size_limit(before)


# --- suite ------------------------------------------------------------------------------------------------------------


def test_candidates_are_values_that_enough_pictures_show() -> None:
    tags = [{"roof": frozenset({value})} for value in ("red", "red", "red", "blue", "blue", "blue", "pink")]
    tags += [{"roof": frozenset({"red", "blue"})}, {"wall": frozenset({"red"})}, {}]
    (one,) = suite.attributes_of(tags, {"roof": "a {value} roof"})
    assert (one.values, one.sentences) == (("blue", "red"), ("a blue roof", "a red roof"))
    assert one.rows == (0, 1, 2, 3, 4, 5)  # neither the rare value nor the picture that shows all of them
    assert [sorted(shown) for shown in one.truth] == [[1]] * 3 + [[0]] * 3


def test_any_of_several_values_is_right() -> None:
    one = suite.Attribute("k", ("a", "b", "c"), ("a", "b", "c"), (0, 1), (frozenset({0, 2}), frozenset({1})))
    assert suite.judge(one, np.array([[0.1, 0.2, 0.9], [0.9, 0.1, 0.2]])).tolist() == [1, 0]


def test_tags_end_to_end(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set", colours=("red", "green", "blue"))
    files = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))
    rows = [
        {"file": file, "tags": {"roof": file.split("/")[0], "lanes": "two" if i % 2 else "four"}}
        for i, file in enumerate(files)
    ]
    result = suite.run(data, tags=written(tmp_path / "tags.json", rows), encoder=encoder, report=tmp_path / "report")
    by_key = {row["attribute"]: row for row in result.tables[suite.BY_KEY]}
    assert (by_key["roof"]["top1"], by_key["roof"]["recall"]) == (100, 100)
    assert by_key["roof"]["guessing"] == pytest.approx(100 / 3) == pytest.approx(by_key["roof"]["commonest"])
    assert by_key["lanes"]["recall"] == 50  # words that the encoder does not know: always the first
    assert by_key["lanes"]["values"] == "four 6, two 6"
    assert result.metrics["top1"] == 75 and result.rows["guessing"]["recall"] == pytest.approx((50 + 100 / 3) / 2)
    assert result.metrics["top1_low"] < 75 < result.metrics["top1_high"]
    assert any("SkyCLIP" in row["model"] for row in result.tables["Published, other pictures"])
    assert (tmp_path / "report" / "report.html").is_file()


def test_a_key_with_published_figures_shows_them_beside_ours(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set", colours=("red", "green"))
    rows = [{"file": p.relative_to(data).as_posix(), "tags": {"surface": p.parent.name}} for p in data.rglob("*.png")]
    result = suite.run(data, tags=written(tmp_path / "tags.json", rows), encoder=encoder)
    assert any(name.startswith("SkyCLIP") and row["top1"] == 67.5 for name, row in result.rows.items())


def test_captions_end_to_end(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set", colours=("red", "green"))
    rows = [
        {"file": p.relative_to(data).as_posix(), "captions": [f"a {p.parent.name} roof", f"some {p.parent.name} roofs"]}
        for p in sorted(data.rglob("*.png"))
    ]
    captions, kept = written(tmp_path / "captions.json", rows), tmp_path / "kept.json"
    result = suite.run(data, from_captions=captions, keep_tags=kept, encoder=encoder)
    assert result.metrics["top1"] == 100
    again = suite.run(data, tags=kept, encoder=encoder)
    assert again.metrics == result.metrics


def test_pictures_of_tags_are_found_by_the_end_of_their_path(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set" / "deep", colours=("red", "green")).parent
    rows = [
        {"file": p.relative_to(data / "deep").as_posix(), "tags": [f"roof={p.parent.name}"]}
        for p in data.rglob("*.png")
    ]
    rows.append({"file": "gone.png", "tags": ["roof=red"]})
    result = suite.run(data, tags=written(tmp_path / "tags.json", rows), encoder=encoder)
    assert result.metrics["top1"] == 100 and result.details["left out files"] == ["gone.png: no such file"]


def test_what_cannot_be_asked(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set", colours=("red",))
    tags = written(tmp_path / "tags.json", [{"file": "red/0.png", "tags": ["roof=red"]}])
    with pytest.raises(UsageError, match="tags are needed"):
        suite.run(data, encoder=encoder)
    with pytest.raises(UsageError, match="tags are needed"):
        suite.run(data, tags=tags, from_captions=tags, encoder=encoder)
    with pytest.raises(UsageError, match="no key has two values"):
        suite.run(data, tags=tags, encoder=encoder)
    with pytest.raises(UsageError, match="a tag file has no splits"):
        suite.run(data, tags=tags, split="val", encoder=encoder)
    gone = written(tmp_path / "mine.json", [{"file": "set/red/0.png", "tags": ["roof=red"]}])
    with pytest.raises(UsageError, match=r"mine\.json names no picture .*set/red/0\.png: no such file"):
        suite.run(data, tags=gone, encoder=encoder)
