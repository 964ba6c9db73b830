"""The knowledge suite over a handful of passages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evidence import LAKE, passage_hit
from typer.testing import CliRunner

from rsrag.cli.app import app
from rsrag.errors import UsageError
from rsrag.eval import knowledge
from rsrag.eval.knowledge import Question
from rsrag.types import Answer, Fact, Provenance, Sentence

PASSAGES = [
    {
        "id": "p1",
        "place": "Blue Lagoon",
        "lat": 45.9,
        "lon": 3.0,
        "text": "Blue Lagoon is 12 m deep. Swans nest there.",
    },
    {"id": "p2", "place": "Red Quarry", "lat": 46.9, "lon": 4.0, "text": "Red Quarry gave sandstone until 1914."},
    {
        "id": "p3",
        "place": "Green Wood",
        "lat": 47.9,
        "lon": 5.0,
        "text": "Green Wood is a beech forest of 310 hectares.",
    },
    {
        "id": "p4",
        "place": "Old Harbour",
        "lat": 48.9,
        "lon": 6.0,
        "text": "Old Harbour was built by 800 dockers in 1702.",
    },
]
QUESTIONS: list[dict[str, Any]] = [
    {"question": "How deep is Blue Lagoon?", "answer": "12 m", "place": "Blue Lagoon", "passage_id": "p1"},
    {"question": "Which stone came from Red Quarry?", "answer": "sandstone", "place": "Red Quarry"},
    {"question": "When was Old Harbour built?", "answer": "1702", "place": "Old Harbour", "passage_id": "p4"},
    {"question": "Who composed the opera about the emperor's nightingale?", "answer": None, "place": None},
]
FOUND = {"hit@1", "hit@5"}
ANSWERED = {"answer_match", "citation_precision", "false_abstention", "abstention_recall"}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("suite")
    return write_lines(folder / "passages.jsonl", PASSAGES), write_lines(folder / "questions.jsonl", QUESTIONS)


def test_easy_questions_are_found_answered_and_cited(files: tuple[Path, Path]) -> None:
    result = knowledge.run([files[0]], files[1])
    assert result.suite == "knowledge"
    assert result.metrics == {
        "hit@1": 1.0,
        "hit@5": 1.0,
        "answer_match": 1.0,
        "citation_precision": 1.0,
        "false_abstention": 0.0,
        "abstention_recall": 1.0,
    }
    assert set(result.rows) == {"rsrag", "BM25 alone", "dense alone", "RS-RAG alpha fusion"}
    for name, row in result.rows.items():
        assert FOUND <= set(row) <= FOUND | ANSWERED, name
        assert row["hit@1"] <= row["hit@5"] == 1.0
    assert (result.details["questions"], result.details["answerable"], result.details["passages"]) == (4, 3, 4)
    assert "hit@1" in result.to_text()


def test_wrong_truths_lower_every_figure(files: tuple[Path, Path], tmp_path: Path) -> None:
    wrong = [
        {"question": "How deep is Blue Lagoon?", "answer": "99 m", "place": "Red Quarry", "passage_id": "p2"},
        {"question": "How deep is Blue Lagoon exactly?", "answer": None, "place": None},
    ]
    metrics = knowledge.run([files[0]], write_lines(tmp_path / "wrong.jsonl", wrong)).metrics
    assert metrics["hit@1"] == metrics["answer_match"] == metrics["citation_precision"] == 0.0
    assert metrics["abstention_recall"] == 0.0


def test_without_questions_to_decline_there_is_no_figure_for_it(files: tuple[Path, Path]) -> None:
    result = knowledge.run([files[0]], files[1], limit=2)
    assert result.details["questions"] == 2
    assert set(result.metrics) == (FOUND | ANSWERED) - {"abstention_recall"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no questions"),
        ("\n\n", "holds no questions"),
        ("not json\n", "line 1"),
        ('{"question": "q", "answer": "a", "place": null}\n[1]\n', "line 2"),
        ('{"answer": "a"}\n', "line 1: not a question"),
        ('{"question": "q"}\n', "line 1: not a question"),
        ("3\n", "line 1"),
    ],
)
def test_bad_questions_are_named(content: str, reason: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=reason):
        knowledge.run([files[0]], path)


def test_files_that_cannot_be_read(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        knowledge.read_questions(tmp_path / "absent.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "caf\xe9"}\n')
    with pytest.raises(UsageError, match="cannot read"):
        knowledge.read_questions(tmp_path / "latin.jsonl")
    (tmp_path / "passages.jsonl").write_text('{"id": "1"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="no passage could be read"):
        knowledge.run([tmp_path / "passages.jsonl"], files[1])


def test_a_byte_order_mark_is_no_part_of_the_first_question(tmp_path: Path) -> None:
    line = '{"question": "How deep is it?", "answer": null, "place": null}\r\n'
    (tmp_path / "q.jsonl").write_text("\ufeff" + line, encoding="utf-8", newline="")
    assert knowledge.read_questions(tmp_path / "q.jsonl") == [Question("How deep is it?", None, None)]


def test_what_counts_as_the_right_passage() -> None:
    by_id = passage_hit("x", "text", LAKE, facts=[Fact("id", "p7")])
    assert knowledge.is_right(Question("q", "a", "elsewhere", "p7"), by_id)
    assert not knowledge.is_right(Question("q", "a", "Lake Chad", "p8"), by_id)
    assert knowledge.is_right(Question("q", "a", "Lake Chad"), by_id)
    assert not knowledge.is_right(Question("q", "a", "Chad"), by_id)
    assert not knowledge.is_right(Question("q", "a", None), by_id)
    headed = passage_hit("x", "text", heading="Lake Chad › Depth")
    assert knowledge.is_right(Question("q", "a", "Lake Chad"), headed)
    assert not knowledge.is_right(Question("q", "a", "Depth"), headed)


@pytest.mark.parametrize(("said", "right"), [("The cathedral stands on the square.", 0.0), ("It has 3 towers.", 1.0)])
def test_the_number_of_a_citation_is_no_answer(said: str, right: float) -> None:
    sentences = (Sentence(said, (3,)),)
    answer = Answer("How many towers has it?", sentences, (), False, 1.0, Provenance({}, "none", "0"))
    assert (
        knowledge._answered([(Question("How many towers has it?", "3", "Lake Chad"), answer)])["answer_match"] == right
    )


def test_the_command_prints_one_object(files: tuple[Path, Path]) -> None:
    arguments = ["eval", "knowledge", "--passages", str(files[0]), "--questions", str(files[1]), "--limit", "1"]
    ran = CliRunner().invoke(app, [*arguments, "--json"])
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    printed = json.loads(ran.stdout)
    assert printed["suite"] == "knowledge"
    assert printed["metrics"]["hit@1"] == 1.0
    assert set(printed) == {"suite", "metrics", "rows", "details"}
    table = CliRunner().invoke(app, arguments)
    assert "BM25 alone" in table.stdout and "answer_match" in table.stdout


def test_the_command_tells_bad_questions_in_one_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("nonsense\n", encoding="utf-8")
    arguments = ["eval", "knowledge", "--passages", str(files[0]), "--questions", str(tmp_path / "bad.jsonl"), "--json"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 2
    assert "line 1" in ran.stdout + ran.stderr
