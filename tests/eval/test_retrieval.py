"""The retrieval suite: every way of counting against values by hand, and what must hold for any captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_sets import captions as caption_file
from picture_sets import picture, write

from rsrag.errors import UsageError
from rsrag.eval import retrieval
from rsrag.eval.datasets.images import read_captions
from rsrag.eval.encoders import choose_row, embed, embed_words, open_encoder
from rsrag.eval.retrieval import WAYS, Captions, Found

QUICK = settings(deadline=None, derandomize=True, max_examples=40)


def perfect(captions: Captions) -> tuple[np.ndarray, np.ndarray]:
    """Vectors under which every picture is nearest to exactly the texts it shares a caption with."""
    keys = len(captions.texts_of_key)
    images, texts = np.zeros((captions.pictures, keys)), np.zeros((len(captions.texts), keys))
    for row, own in enumerate(captions.keys_of_picture):
        images[row, own] = 1
    texts[np.arange(len(captions.texts)), captions.keys] = 1
    return images.astype(np.float32), texts.astype(np.float32)


def test_equal_captions_are_one_group() -> None:
    found = Captions.of([["A lake .", "a lake", "A road"], ["A LAKE."], ["a wood", "a wood"]])
    assert found.texts == ("A lake .", "a lake", "A road", "A LAKE.", "a wood")
    assert found.keys.tolist() == [0, 0, 1, 0, 2]
    assert found.copies.tolist() == [1, 1, 1, 1, 2]
    assert [keys.tolist() for keys in found.keys_of_picture] == [[0, 1], [0], [2]]
    assert [rows.tolist() for rows in found.pictures_of_key] == [[0, 1], [0], [2]]
    assert [texts.tolist() for texts in found.texts_of_key] == [[0, 1, 3], [2], [4]]
    assert found.first_of_key.tolist() == [0, 2, 4]


def test_three_ways_of_counting_by_hand() -> None:
    # Two pictures share "a"; "b" is the second's own. Scores make picture 1 the best for everything.
    found = Captions.of([["a"], ["a", "b"]])
    images = np.array([[0.5, 0.1], [0.9, 0.8]], np.float32)
    texts = np.eye(2, dtype=np.float32)
    ways = {name: way(images, texts, found, None) for name, way in WAYS.items()}
    # Any match: "a" (twice in the gallery) comes first for both pictures; both pictures are right for "a".
    assert ways["any match"].i2t[:, 0].tolist() == [1, 1]
    assert ways["any match"].t2i[:, 0].tolist() == [1, 1]
    assert ways["any match"].weights.tolist() == [2, 1]
    assert ways["equal texts once"].weights.tolist() == [1, 1]
    # Own only: one of the two equal "a" is another picture's, so that a picture's own comes first half of the time.
    assert ways["own only"].i2t[:, 0].tolist() == [0.5, 0.5]
    assert ways["own only"].t2i[:, 0].tolist() == [0, 1, 1]
    assert ways["own only"].t2i[:, 1].tolist() == [1, 1, 1]


def test_figures_weigh_texts_by_how_often_they_come() -> None:
    found = Found(np.array([[1.0, 1, 1], [0, 0, 1]]), np.array([[1.0, 1, 1], [0, 0, 0]]), np.array([3.0, 1.0]))
    assert found.figures() == {
        "mR": pytest.approx(100 * (2 / 3 + 3 / 4) / 2),
        "i2t_R@1": 50, "i2t_R@5": 50, "i2t_R@10": 100, "i2t_mR": pytest.approx(200 / 3),
        "t2i_R@1": 75, "t2i_R@5": 75, "t2i_R@10": 75, "t2i_mR": 75,
    }  # fmt: skip


WORDS = st.sampled_from(["a lake", "A lake.", "a road", "two roads", "a wood", "an airport", "An Airport", "houses"])
SETS = st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=2, max_size=8)


@QUICK
@given(SETS)
def test_perfect_scores_give_a_hundred(sets: list[list[str]]) -> None:
    found = Captions.of(sets)
    images, texts = perfect(found)
    for name in ("any match", "equal texts once"):
        assert WAYS[name](images, texts, found, None).figures()["mR"] == pytest.approx(100)


@QUICK
@given(SETS)
def test_perfect_scores_over_different_captions_are_perfect_however_one_counts(sets: list[list[str]]) -> None:
    found = Captions.of([[f"{number} {text}" for text in own] for number, own in enumerate(sets)])
    images, texts = perfect(found)
    assert [way(images, texts, found, None).figures()["mR"] for way in WAYS.values()] == pytest.approx([100] * 3)


@QUICK
@given(SETS, st.integers(0, 1000))
def test_the_order_of_pictures_and_captions_does_not_matter(sets: list[list[str]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 3, (len(sets), 4)).astype(np.float32)
    vector = {text: rng.integers(0, 3, 4).astype(np.float32) for text in sorted({t for own in sets for t in own})}
    order = rng.permutation(len(sets))
    moved = [list(rng.permutation(sets[row])) for row in order]
    for name in ("any match", "own only"):
        one, two = Captions.of(sets), Captions.of(moved)
        first = WAYS[name](images, np.stack([vector[t] for t in one.texts]), one, None).figures()
        second = WAYS[name](images[order], np.stack([vector[t] for t in two.texts]), two, None).figures()
        assert first == pytest.approx(second)


@QUICK
@given(SETS)
def test_chance_is_what_equal_scores_give(sets: list[list[str]]) -> None:
    found = Captions.of(sets)
    flat = np.ones((found.pictures, 1), np.float32), np.ones((len(found.texts), 1), np.float32)
    assert retrieval._chance(found) == pytest.approx(WAYS["any match"](*flat, found, None).figures())


def sentences(count: int) -> list[dict[str, Any]]:
    kinds = ["a lake", "a road", "many houses", "a dense forest"]
    return [
        {"file": f"{i}.png", "captions": [f"This is {kinds[i % 4]} .", f"There is {kinds[i % 4]}", f"picture {i}"]}
        for i in range(count)
    ]


def made(tmp_path: Path, count: int = 8) -> Path:
    files: dict[str, bytes | np.ndarray] = {f"{i}.png": picture(i) for i in range(count)}
    return write(tmp_path, {**files, "captions.json": caption_file(sentences(count))})


def test_a_run_over_captions(tmp_path: Path) -> None:
    images = read_captions(made(tmp_path / "set"), "captions.json")
    result = retrieval.run(images, choose_row(), dataset="rsicd", report=tmp_path / "report")
    assert list(result.rows)[:4] == [
        "mini-image, any match", "mini-image, equal texts once", "mini-image, own only", "chance, any match",
    ]  # fmt: skip
    assert result.rows["GeoRSCLIP ViT-B/32 (zero-shot; published)"] == {"mR": 26.06}
    own = result.rows["mini-image, any match"]
    assert result.metrics == own and own["mR_low"] <= own["mR"] <= own["mR_high"]
    assert own["mR"] == pytest.approx((own["i2t_mR"] + own["t2i_mR"]) / 2)
    assert own["mR"] >= result.rows["mini-image, own only"]["mR"]
    assert (result.details["pictures"], result.details["captions"], result.details["different captions"]) == (8, 24, 16)
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_same_figures_as_in_training(tmp_path: Path) -> None:
    probe = pytest.importorskip("rsrag.train.probe")
    # Words of their own: the text model takes "picture 1" and "picture 3" for the same, and ties are counted otherwise.
    things = [
        "harbour",
        "airport",
        "stadium",
        "bridge",
        "farm",
        "beach",
        "mountain",
        "river",
        "desert",
        "island",
        "church",
        "factory",
    ]
    rows = sentences(len(things))
    for row, thing in zip(rows, things, strict=True):
        row["captions"] = [*row["captions"][:2], f"a picture of a {thing}"]
    files: dict[str, bytes | np.ndarray] = {f"{i}.png": picture(i) for i in range(len(things))}
    images = read_captions(write(tmp_path, {**files, "captions.json": caption_file(rows)}), "captions.json")
    encoder = open_encoder()
    vectors = embed(encoder, images)
    theirs = probe.caption_recall(vectors, images.items, lambda texts: embed_words(encoder, texts))
    found = Captions.of([item.captions for item in images.items])
    ours = WAYS["any match"](vectors, embed_words(encoder, found.texts), found, None).figures()
    assert ours["mR"] == pytest.approx(100 * theirs["mr"])
    assert ours["t2i_R@5"] == pytest.approx(100 * theirs["t2i_r5"])


def test_a_prefix_changes_what_is_asked(tmp_path: Path) -> None:
    images = read_captions(made(tmp_path), "captions.json")
    plain = retrieval.run(images, choose_row())
    other = retrieval.run(images, choose_row(), prefix="runway airplane harbor ")
    assert other.details["prefix"] == "runway airplane harbor " and plain.details["prefix"] == "none"
    assert plain.rows["mini-image, own only"] != other.rows["mini-image, own only"]


def test_one_picture_is_no_question(tmp_path: Path) -> None:
    images = read_captions(made(tmp_path, 1), "captions.json")
    with pytest.raises(UsageError, match="needs at least two"):
        retrieval.run(images, choose_row())
