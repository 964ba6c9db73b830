"""Public data sets become files that the knowledge suite reads."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rsrag.cli.app import app
from rsrag.errors import UnreadableSource
from rsrag.eval.datasets import prepare
from rsrag.eval.knowledge import read_questions
from rsrag.ingest.knowledge import KnowledgeItem, read_knowledge

ASKED = "<image>What is the ALBEDO value for January 2019 in the remote image?"


def exchange(question: str, answer: str, image: str = "Thasos.png") -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "images": [image], "task": "Visual Question Answering"}


def pack(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    return path


def pack_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    return pack(path, "".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Both data sets with a record or two."""
    folder = tmp_path / "data"
    folder.mkdir()
    properties = {
        "name": "Old Mine",
        "summary": "<p>A mine of copper &amp; tin.</p>",
        "description": "Miners dug there from 1550 to 1890.",
    }
    bare = {"name": "Bare Site", "summary": None}
    features = [
        {"type": "Feature", "id": 7, "geometry": {"type": "Point", "coordinates": [15.5, 60.5]}, "properties": p}
        for p in (properties, bare)
    ]
    pack(folder / "unesco_sites.geojson.gz", json.dumps({"type": "FeatureCollection", "features": features}))
    test = [exchange(ASKED, "0.45"), exchange("<image>What is the capital of the USA?", "Washington")]
    pack_lines(folder / "rswk_rsk_test.jsonl.gz", test)
    other = exchange("<image>In March 2020, how high was the LST_Day?", "290.1", "sub/Þórsmörk.png")
    pack_lines(folder / "rswk_rsk_train.jsonl.gz", [other])
    return folder


def test_sites_become_plain_passages(small: Path) -> None:
    passages = list(prepare.unesco_passages(small))
    assert [p["id"] for p in passages] == [f"unesco-7-{n}" for n in range(len(passages))]
    text = " ".join(p["text"] for p in passages)
    assert "copper & tin" in text and "1550 to 1890" in text and "<" not in text
    assert {(p["place"], p["lat"], p["lon"]) for p in passages} == {("Old Mine", 60.5, 15.5)}


def test_exchanges_about_variables_become_sentences_and_questions(small: Path) -> None:
    assert list(prepare.rswk_pairs(small, "test")) == [("Thasos", "ALBEDO", "January", "2019", "0.45")]
    told = {p["id"]: p["text"] for p in prepare.rswk_passages(small)}
    assert told == {
        "rswk-test-0": "At Thasos, the monthly mean of ALBEDO in January 2019 was 0.45.",
        "rswk-train-0": "At Þórsmörk, the monthly mean of LST_Day in March 2020 was 290.1.",
    }
    assert list(prepare.rswk_questions(small)) == [
        {
            "question": "What was the ALBEDO value at Thasos in January 2019?",
            "answer": "0.45",
            "place": "Thasos",
            "passage_id": "rswk-test-0",
        }
    ]
    assert list(prepare.rswk_questions(small, 0)) == []


def test_the_package_brings_questions_in_two_halves() -> None:
    halves = {split: [q["question"] for q in prepare.unesco_questions(split)] for split in ("dev", "test", "all")}
    assert halves["dev"] and halves["test"]
    assert not set(halves["dev"]) & set(halves["test"])
    assert sorted(halves["dev"] + halves["test"]) == sorted(halves["all"])


def damage(kind: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        if kind == "absent":
            path.unlink()
        elif kind == "plain":
            path.write_text("{}", encoding="utf-8")
        elif kind == "cut":
            path.write_bytes(path.read_bytes()[:-20])
        else:
            pack(path, '{"features": [')

    return apply


@pytest.mark.parametrize("kind", ["absent", "plain", "cut", "not json"])
def test_files_that_cannot_be_used_are_named(kind: str, small: Path) -> None:
    for name, read in (
        ("unesco_sites.geojson.gz", prepare.unesco_passages),
        ("rswk_rsk_test.jsonl.gz", prepare.rswk_questions),
    ):
        damage(kind)(small / name)
        with pytest.raises(UnreadableSource, match=re.escape(name)):
            list(read(small))


@pytest.mark.parametrize(("dataset", "counts"), [("unesco", None), ("rswk", (2, 1))])
def test_what_the_command_writes_is_what_the_suite_reads(
    dataset: str, counts: tuple[int, int] | None, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "suite"
    ran = CliRunner().invoke(app, ["eval", "prepare", dataset, "--data", str(small), "--out", str(out)])
    assert ran.exit_code == 0, ran.stderr
    questions = read_questions(out / "questions.jsonl")
    items = list(read_knowledge(out / "passages.jsonl"))
    assert items and all(isinstance(item, KnowledgeItem) for item in items)
    if counts is not None:
        assert (len(items), len(questions)) == counts


def test_unknown_sets_and_missing_files_end_the_command(small: Path, tmp_path: Path) -> None:
    def code(dataset: str, data: Path) -> int:
        arguments = ["eval", "prepare", dataset, "--data", str(data), "--out", str(tmp_path / "out")]
        return CliRunner().invoke(app, arguments).exit_code

    assert code("atlas", small) == 2
    assert code("unesco", tmp_path) == 1


def test_an_unknown_half_of_the_questions_is_refused(small: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(small), "--out", str(tmp_path / "out"), "--split", "tset"]
    ran = CliRunner().invoke(app, ["eval", "prepare", "unesco", *arguments])
    assert ran.exit_code == 2 and "unknown split 'tset'" in ran.stderr and not (tmp_path / "out").exists()


def test_line_separators_inside_of_texts(small: Path, tmp_path: Path) -> None:
    """JSON may hold U+2028 and U+0085 as they are; only a line feed ends a record."""
    said = exchange(ASKED, "0.45\u2028\u0085")
    pack(small / "rswk_rsk_test.jsonl.gz", json.dumps(said, ensure_ascii=False) + "\n\n")
    prepare.write_jsonl(tmp_path / "q.jsonl", prepare.rswk_questions(small))
    (question,) = read_questions(tmp_path / "q.jsonl")
    assert question.answer == "0.45\u2028\u0085"


def test_the_published_files(shared_data: Path) -> None:
    sites = {p["place"] for p in prepare.unesco_passages(shared_data)}
    assert len(sites) > 900
    assert {q["place"] for q in prepare.unesco_questions("all") if q["place"]} <= sites
    questions = list(prepare.rswk_questions(shared_data, 50))
    assert len(questions) == 50
    texts = {p["id"]: p["text"] for p in prepare.rswk_passages(shared_data)}
    for question in questions:
        text = texts[question["passage_id"]]
        assert question["place"] in text and question["answer"] in text
