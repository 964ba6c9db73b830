"""``rsrag train encoder``: what it hands over, and what it says when it is stopped or misspelt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import Run

import rsrag.train
from rsrag.train.config import TrainResult


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What training was called with; it only tells of three steps."""
    found: dict[str, Any] = {}

    def train(config: Any, **options: Any) -> TrainResult:
        found.update(options, config=config)
        if options["steps"] is not None:
            options["steps"].start("training", 3, unit="steps")
            options["steps"].advance(3)
            options["steps"].finish()
        return TrainResult(options["run_dir"], 3, 0.5, {})

    monkeypatch.setattr(rsrag.train, "train_encoder", train)
    (tmp_path / "tiny.toml").write_text('name = "tiny"\n[optim]\nepochs = 2\n', encoding="utf-8")
    return found


def test_folders_have_defaults(run: Run, seen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSRAG_DATA", raising=False)
    assert run("train", "encoder", "tiny.toml").code == 0
    assert (seen["run_dir"], seen["data_dir"]) == (Path("runs/tiny"), Path())
    monkeypatch.setenv("RSRAG_DATA", str(tmp_path))
    assert run("train", "encoder", "tiny.toml").code == 0
    assert seen["data_dir"] == tmp_path


def test_settings_are_replaced(run: Run, seen: dict[str, Any]) -> None:
    ran = run("train", "encoder", "tiny.toml", "--set", "optim.lr=1e-4", "--set", "tuning.method=lora")
    assert ran.code == 0
    config = seen["config"]
    assert (config.optim.lr, config.tuning.method, config.optim.epochs) == (1e-4, "lora", 2)


def test_a_misspelt_setting_names_the_nearest(run: Run, seen: dict[str, Any]) -> None:
    ran = run("train", "encoder", "tiny.toml", "--set", "optim.epoch=3")
    assert ran.code == 2
    assert "did you mean 'epochs'?" in ran.err
    assert seen == {}


def test_where_a_finished_run_can_be_used(run: Run, seen: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "profile.toml").touch()
    assert "rsrag init --profile run/profile.toml" in run("train", "encoder", "tiny.toml", "--run-dir", "run").out


def test_one_of_several_processes_tells(run: Run, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    ran = run("train", "encoder", "tiny.toml", "--json")
    assert (ran.code, ran.out) == (0, "")
    assert seen["progress"] is seen["steps"] is None


def test_an_interrupted_run_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any]
) -> None:
    def stop(*_: Any, **__: Any) -> TrainResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(rsrag.train, "train_encoder", stop)
    ran = run("train", "encoder", "tiny.toml")
    assert ran.code == 130
    assert "saved in runs/tiny" in ran.err
    assert "resume with the same command" in ran.err
