"""Commands that hand over to a library function hand over the right things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import Run

import rsrag.demo.run
import rsrag.train
from rsrag.train.config import TrainResult


def test_train_encoder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def train(config: Any, **options: Any) -> TrainResult:
        seen.update(options, name=config.name)
        options["progress"]({"epoch": 1, "step": 7, "loss": 0.25})
        return TrainResult(options["run_dir"], 7, 1.5, {"loss": 0.25})

    monkeypatch.setattr(rsrag.train, "train_encoder", train, raising=False)
    (tmp_path / "run.toml").write_text('name = "tiny"\n')
    arguments = ("train", "encoder", "run.toml", "--data", tmp_path, "--run-dir", "run")
    result = run(*arguments, "--json")
    assert result.code == 0
    assert result.json == {"run_dir": "run", "steps": 7, "seconds": 1.5, "metrics": {"loss": 0.25}}
    assert "epoch 1/40 loss 0.25" in result.err
    assert (seen["name"], seen["data_dir"], seen["resume"]) == ("tiny", tmp_path, True)
    assert "7 steps" in run(*arguments, "--fresh").out
    assert seen["resume"] is False


def test_train_with_a_bad_config(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("nonsense = 1\n")
    ran = run("train", "encoder", "run.toml", "--data", tmp_path, "--run-dir", "run")
    assert ran.code == 2
    assert "nonsense" in ran.err


def test_demo(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run_demo(workspace: Path, **options: Any) -> int:
        seen.update(options, workspace=workspace)
        options["console"].print("a story")
        if options["json"]:
            print("{}")
        return 1

    monkeypatch.setattr(rsrag.demo.run, "run_demo", run_demo)
    told = run("-w", "here", "demo", "--report", "page.html")
    assert (told.code, told.out) == (1, "a story\n")
    assert (seen["workspace"], seen["report"]) == (Path("here"), Path("page.html"))
    assert seen["progress"] is not None
    machine = run("demo", "--json")
    assert machine.json == {}
    assert "a story" in machine.err
    assert seen["workspace"] == Path("demo.rsrag")
