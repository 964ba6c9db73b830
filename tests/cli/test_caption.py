"""``rsrag caption`` and ``rsrag eval caption`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from PIL import Image


@pytest.fixture
def stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    folder = tmp_path / "set"
    folder.mkdir()
    rows = []
    for number in range(4):
        noise = np.random.default_rng(number).normal(0, 8, (64, 64, 1))
        Image.fromarray(np.clip(np.array([12, 40, 84]) + noise, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append({"file": f"{number}.png", "split": "val" if number == 3 else "train", "captions": ["A blue sea ."]})
    (folder / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_a_sentence_with_its_neighbours(run: Run, stock: Path, tmp_path: Path) -> None:
    ran = run("caption", stock / "3.png", "--examples", stock, "--split", "train", "--json", "-o", tmp_path / "p.html")
    assert ran.code == 0, ran.err
    assert ran.json["text"].endswith("]") and ran.json["evidence"] and ran.json["style"] == "short"
    assert (tmp_path / "p.html").exists()


def test_what_a_number_in_brackets_stands_for_is_shown(run: Run, stock: Path) -> None:
    ran = run("caption", stock / "3.png", "--examples", stock, "--split", "train")
    assert ran.code == 0, ran.err
    assert "[1]  Captions of the similar picture" in ran.out and "A blue sea" in ran.out
    assert "evidence" not in run("caption", stock / "3.png").out


def test_wrong_style_is_a_usage_error(run: Run, stock: Path) -> None:
    ran = run("caption", stock / "3.png", "--style", "poem")
    assert ran.code == 2 and "short, detailed, knowledge" in ran.err


def test_a_seed_below_zero_and_wrong_bands(run: Run, stock: Path) -> None:
    assert run("caption", stock / "3.png", "--seed", "-1").code == 2
    ran = run("caption", stock / "3.png", "--bands", "red")
    assert ran.code == 2 and "band mapping" in ran.err


def test_an_image_of_thousands_of_characters(run: Run, stock: Path) -> None:
    ran = run("caption", "x" * 5000)
    assert ran.code == 1 and "File name too long" in ran.err


def test_measured_with_a_report(run: Run, stock: Path, tmp_path: Path) -> None:
    ran = run("eval", "caption", "--data", stock, "--json", "--report", tmp_path / "report")
    assert ran.code == 0, ran.err
    assert ran.json["suite"] == "caption" and "cider_d" in ran.json["metrics"]
    assert (tmp_path / "report" / "report.html").exists()
