"""The classification suite: figures of known scores, templates, and a run over pictures on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from picture_sets import classes, picture, write

from rsrag.errors import UsageError
from rsrag.eval import classification
from rsrag.eval.classification import Judged, class_vectors, figures, our_rows, read_templates
from rsrag.eval.datasets.images import read_folders
from rsrag.eval.datasets.leakage import Leak, Leakage
from rsrag.eval.encoders import choose_row, open_encoder
from rsrag.train.prompts import TEMPLATES


def judged(scores: list[list[float]], truth: list[int]) -> Judged:
    return Judged(np.array(scores, dtype=np.float32), np.array(truth), np.arange(len(truth)) % 2)


def test_figures_by_hand() -> None:
    known = judged([[0.9, 0.1], [0.8, 0.1], [0.2, 0.7], [0.6, 0.1]], [0, 0, 1, 1])
    found = figures(known, temperature=0.1)
    assert found["top1"] == 75 and found["macro"] == 75
    assert set(found) == {"top1", "macro", "ece", "ece_fitted"}  # top-5 of two classes says nothing
    uneven = judged([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.6, 0.1]], [0, 0, 0, 1])
    assert figures(uneven, 0.1)["top1"] == 75 and figures(uneven, 0.1)["macro"] == 50


def test_the_unknown_option_keeps_only_sure_predictions() -> None:
    known = judged([[0.9, 0.1], [0.51, 0.5], [0.2, 0.7], [0.5, 0.49]], [0, 1, 1, 1])
    assert figures(known, 0.1, unknown=0.9) | {"ece": 0, "ece_fitted": 0} == {
        "top1": 50, "macro": pytest.approx(100 * (1 + 1 / 3) / 2), "coverage": 50, "top1_known": 100,
        "ece": 0, "ece_fitted": 0,
    }  # fmt: skip
    assert figures(known, 0.1, unknown=1.0)["top1_known"] == 0
    assert figures(known, 0.1, unknown=0.0)["coverage"] == 100


def test_a_fitted_temperature_mends_confidence() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 0.1, (2000, 8)).astype(np.float32)
    truth = (scores / 0.1 + rng.gumbel(size=scores.shape)).argmax(axis=1)
    found = figures(Judged(scores, truth, np.arange(2000) % 2), temperature=0.01)
    assert found["ece"] > 20 > 5 > found["ece_fitted"]
    assert "top5" in found


def test_figures_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(1)
    scores, truth = rng.integers(0, 4, (60, 7)) / 4, rng.integers(0, 7, 60)
    scores += rng.permutation(420).reshape(60, 7) * 1e-6  # no ties for the arg-max
    folds = rng.integers(0, 2, 60)
    rows, columns = rng.permutation(60), rng.permutation(7)
    one = figures(Judged(scores, truth, folds), 0.1)
    two = figures(Judged(scores[rows][:, columns], np.argsort(columns)[truth[rows]], folds[rows]), 0.1)
    assert one == pytest.approx(two)


def test_rows_with_and_without_leaked_pictures() -> None:
    known = judged([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.9, 0.1]], [0, 1, 0, 1])
    leaked = Leakage("manifest.jsonl", 4, 0, (Leak(0, "a", "same file"), Leak(1, "b", "looks alike", 2)))
    rows = our_rows("mine", known, leaked, 0.1, None)
    assert {name: found["top1"] for name, found in rows.items()} == {
        "mine, LEAKED pictures included": 50,
        "mine, without leaked pictures": 0,
    }
    everything = Leakage("m", 4, 0, tuple(Leak(row, "a", "same file") for row in range(4)))
    assert list(our_rows("mine", known, everything, 0.1, None)) == ["mine, LEAKED pictures included"]
    assert list(our_rows("mine", known, Leakage(None, 4), 0.1, None)) == ["mine"]


# Templates


def test_class_vectors_are_averaged_and_renormalised() -> None:
    encoder = open_encoder()
    found = class_vectors(encoder, ["lake", "road"], ("a {}", "{} from above"))
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    mean = encoder.encode_words(["a road", "road from above"]).mean(axis=0)
    assert found[1] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_templates_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("# bank\n\na photo of {}\n {} {{x}}\n", encoding="utf-8-sig")
    assert read_templates(path) == ("a photo of {}", "{} {{x}}")


@pytest.mark.parametrize("text", ["", "# only\n", "no place", "{} and {}"])
def test_templates_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match="templates"):
        read_templates(path)


# Runs


def test_a_run_over_folders(tmp_path: Path) -> None:
    files = {**classes(each=4), "Forest/broken.png": b"x"}
    images = read_folders(write(tmp_path / "set", files))
    result = classification.run(images, choose_row(), unknown=0.5, report=tmp_path / "report")
    assert result.details["left out"] == 1 and result.details["pictures"] == 12
    assert result.details["classes"] == 3 and result.details["templates"] == len(TEMPLATES)
    assert list(result.rows) == ["mini-image", "chance"]
    assert result.metrics == result.rows["mini-image"]
    assert result.rows["chance"]["top1"] == pytest.approx(100 / 3)
    per_class = result.tables["Per class"]
    assert [row["class"] for row in per_class] == ["forest", "highway", "sea lake"]
    assert [row["pictures"] for row in per_class] == [4, 4, 4]
    counts = np.array([[v for k, v in row.items() if k != "true"] for row in result.tables["Confusion"]])
    assert counts.sum() == 12 and counts.shape == (3, 4)
    assert counts[:, 3].sum() == round(12 * (100 - result.metrics["coverage"]) / 100)
    assert sum(row["count"] for row in result.tables["Reliability"]) == 12
    assert result.tables["Left out"][0]["file"] == "Forest/broken.png"
    stored = json.loads((tmp_path / "report" / "report.json").read_text())
    assert stored["metrics"] == result.metrics
    assert {p.name for p in (tmp_path / "report").glob("*.png")} == {
        "report.png", "confusion-matrix.png", "reliability.png",
    }  # fmt: skip


def test_words_decide_and_published_figures_stand_beside(tmp_path: Path) -> None:
    images = read_folders(write(tmp_path / "set", classes()), None)
    result = classification.run(images, choose_row(), dataset="eurosat")
    assert result.rows["GeoRSCLIP ViT-B/32 (zero-shot; published)"] == {"top1": 61.40}
    assert any("2306.11300" in source for source in result.details["published figures from"])
    bank = classification.run(images, choose_row(), templates=("{}",), temperature=0.5)
    assert bank.details["templates"] == 1 and bank.metrics["ece"] != result.metrics["ece"]
    with pytest.raises(UsageError, match="no published figures"):
        classification.run(images, choose_row(), dataset="nowhere")


def test_one_class_is_no_question(tmp_path: Path) -> None:
    images = read_folders(write(tmp_path, {"Forest/a.png": picture(0), "Forest/b.png": picture(1)}))
    with pytest.raises(UsageError, match="needs at least two"):
        classification.run(images, choose_row())
