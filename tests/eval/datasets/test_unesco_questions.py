"""Checks on the question set over the UNESCO texts: its shape, and its agreement with the texts if at hand."""

from __future__ import annotations

import gzip
import json
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
QUESTIONS = ROOT / "eval" / "suites" / "knowledge" / "unesco_questions.jsonl"
DATA = Path(os.environ.get("RSRAG_DATA") or ROOT / ".." / "shared" / "data")
SITES = DATA / "unesco_sites.geojson.gz"
FIELDS = {"question", "answer", "place", "split"}
SPLITS = ("dev", "test")

# Words a site's name may share with a question without giving the site away: kinds of place, directions, countries.
GENERIC = frozenset(
    re.findall(
        r"\w+",
        """
    ancient archaeological area areas central centre church cultural first fort heritage historic island islands
    landscape monument monuments mount mountain mountains national natural north park parks place places quarter
    region related reserve river ruins site sites south state system town towns valley
    africa australia mexico niger panama zealand
    """,
    )
)


def normalise(text: str) -> str:
    """Lower case, no accents, no thousands separators, one space between words."""
    text = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in text if not unicodedata.combining(c)).lower().replace("’", "'")
    text = re.sub(r"(?<=\d)[, ](?=\d{3}(?!\d))", "", text)
    return " ".join(text.split())


def numbers(text: str) -> list[str]:
    """The numbers of a normalised text; the digit of a square or cubic unit is none."""
    return re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)


def tell_tale_words(name: str) -> set[str]:
    """The capitalised words of five letters and more of a name that are neither generic nor a country."""
    return {normalise(w) for w in re.findall(r"[^\W\d_]{5,}", name) if w[0].isupper()} - GENERIC


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def answerable(rows: list[dict]) -> list[dict]:
    return [r for r in rows if r["answer"] is not None]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Site name to normalised text (summary and description)."""
    if not SITES.is_file():
        pytest.skip(f"{SITES.name} not found: set RSRAG_DATA to the folder that holds it")
    with gzip.open(SITES, "rt", encoding="utf-8") as f:
        features = json.load(f)["features"]
    found: dict[str, str] = {}
    for feature in features:
        p = feature["properties"]
        text = normalise(f"{p.get('summary') or ''} {p.get('description') or ''}")
        found[p["name"]] = f"{found.get(p['name'], '')} {text}".strip()
    return found


def test_fields(rows: list[dict]) -> None:
    for r in rows:
        assert set(r) == FIELDS
        assert r["split"] in SPLITS
        assert isinstance(r["question"], str) and r["question"] == r["question"].strip()
        assert r["question"].endswith("?") and len(r["question"].split()) >= 6
        assert (r["answer"] is None) == (r["place"] is None)
        if r["answer"] is not None:
            assert r["place"] and 1 <= len(r["answer"].split()) <= 6


def test_counts(rows: list[dict], answerable: list[dict]) -> None:
    null = Counter(r["split"] for r in rows if r["answer"] is None)
    known = Counter(r["split"] for r in answerable)
    assert len(answerable) >= 100
    assert sum(null.values()) >= 20
    assert min(null[s] for s in SPLITS) >= 15
    assert sum(bool(re.search(r"\d", r["answer"])) for r in answerable) >= 60
    assert abs(known["dev"] - known["test"]) <= 1
    assert abs(null["dev"] - null["test"]) <= 1


def test_splits_are_interleaved(rows: list[dict]) -> None:
    assert [r["split"] for r in rows] == [SPLITS[i % 2] for i in range(len(rows))]


def test_questions_and_places_are_unique(rows: list[dict], answerable: list[dict]) -> None:
    assert len({normalise(r["question"]) for r in rows}) == len(rows)
    assert len({r["place"] for r in answerable}) == len(answerable)


def test_question_does_not_hold_the_answer(answerable: list[dict]) -> None:
    leaks = [
        r["question"]
        for r in answerable
        if re.search(rf"(?<!\w){re.escape(normalise(r['answer']))}(?!\w)", normalise(r["question"]))
    ]
    assert leaks == []


def test_question_does_not_name_the_place(answerable: list[dict]) -> None:
    for r in answerable:
        question = normalise(r["question"])
        assert normalise(r["place"]) not in question
        shared = tell_tale_words(r["place"]) & set(re.findall(r"[^\W\d_]+", question))
        assert not shared, f"{r['place']}: {shared}"


def test_places_exist(answerable: list[dict], texts: dict[str, str]) -> None:
    assert [r["place"] for r in answerable if r["place"] not in texts] == []


def test_answers_occur_in_the_text(answerable: list[dict], texts: dict[str, str]) -> None:
    missing = []
    for r in answerable:
        answer, text = normalise(r["answer"]), texts[r["place"]]
        whole = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text)
        # A number may stand in the text with another spelling of its unit ("9.3km", "9.3 km").
        wanted = numbers(answer)
        if not whole and not (wanted and set(wanted) <= set(numbers(text))):
            missing.append((r["place"], r["answer"]))
    assert missing == []
