"""A run that was killed or stopped ends as one that was not, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_clip import clip_table

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("open_clip")
pytest.importorskip("model2vec")
pytest.importorskip("cv2")

from rsrag.errors import BadModelFile, ConfigError, SourceError, UsageError  # noqa: E402
from rsrag.progress import Silent  # noqa: E402
from rsrag.train import checkpoint, encoder, train_encoder  # noqa: E402
from rsrag.train.config import parse_config  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def equal(one: Any, other: Any) -> bool:
    """Whether two states are the same, tensors bit for bit."""
    if isinstance(one, dict):
        return set(one) == set(other) and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


def losses(run_dir: Path) -> list[tuple[int, float]]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["epoch"], row["loss"]) for row in map(json.loads, lines)]


@pytest.mark.parametrize("kind", ["mini", "open_clip"])
def test_killed_at_two_fifths_and_resumed(kind: str, toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    table = toy_table if kind == "mini" else clip_table(toy_table, tmp_path)
    table["optim"] |= {"epochs": 3, "batch": 8, "save_steps": 2}
    if kind == "mini":
        table["model"]["drop_path"] = 0.1  # what is dropped at random is the same after the kill
        table["optim"] |= {"class_weight": 0.5, "wild": 0.2}
    else:
        table["optim"]["accumulate"] = 2
    config = parse_config(table)
    whole = train_encoder(config, run_dir=tmp_path / "whole", data_dir=toy_data, export=False)
    kill_at = round(0.4 * whole.steps)
    (tmp_path / "table.json").write_text(json.dumps(table), encoding="utf-8")
    command = [sys.executable, str(SUPPORT / "train_table.py"), str(tmp_path / "table.json"), str(tmp_path / "parts")]
    killed = subprocess.run(
        [*command, str(toy_data), str(kill_at)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = checkpoint.load(tmp_path / "parts")
    assert left is not None
    assert 0 < left["step"] < kill_at
    train_encoder(config, run_dir=tmp_path / "parts", data_dir=toy_data, export=False)
    assert equal(checkpoint.load(tmp_path / "whole"), checkpoint.load(tmp_path / "parts"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


class Stops(Silent):
    """Sends a signal to this process at a step."""

    def __init__(self, at: int, number: int) -> None:
        self.left, self.number = at, number

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self.left -= steps
        if self.left == 0:
            signal.raise_signal(self.number)


def test_stopped_by_signals_it_goes_on_where_it_was(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    table = clip_table(toy_table, tmp_path)
    table["optim"] |= {"epochs": 2, "batch": 8}
    config = parse_config(table)
    before = signal.getsignal(signal.SIGTERM)
    for number, step in ((signal.SIGINT, 1), (signal.SIGTERM, 3)):
        steps = Stops(step if step == 1 else step - 1, number)
        with pytest.raises(KeyboardInterrupt):
            train_encoder(config, run_dir=tmp_path / "parts", data_dir=toy_data, steps=steps, export=False)
        state = checkpoint.load(tmp_path / "parts")
        assert state is not None
        assert state["step"] == step
    assert signal.getsignal(signal.SIGTERM) is before
    train_encoder(config, run_dir=tmp_path / "parts", data_dir=toy_data, export=False)
    train_encoder(config, run_dir=tmp_path / "whole", data_dir=toy_data, export=False)
    assert equal(checkpoint.load(tmp_path / "whole"), checkpoint.load(tmp_path / "parts"))


def test_frozen_weights_that_changed_are_noticed(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    table = clip_table(toy_table, tmp_path)
    table["tuning"] = {"method": "bitfit"}
    table["optim"]["epochs"] = 1
    train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    state = checkpoint.load(tmp_path / "run")
    assert state is not None
    checkpoint.save(tmp_path / "run", {**state, "frozen": "0" * 64})
    with pytest.raises(BadModelFile, match="frozen"):
        train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)


def test_settings_that_differ_are_named(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    table = clip_table(toy_table, tmp_path)
    table["optim"]["epochs"] = 1
    train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    table["optim"] |= {"lr": 0.5, "epochs": 2, "save_steps": 3}
    with pytest.raises(ConfigError, match=r"other settings: optim\.lr$|other settings: optim\.lr \("):
        train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)


def test_files_that_a_crash_left_unfinished(tmp_path: Path) -> None:
    path = tmp_path / encoder.METRICS
    path.write_text('{"epoch": 1, "loss": 2.5}\n{"epoch": 2, "loss": 2.0}\n{"epoch": 3, "lo', encoding="utf-8")
    encoder._keep_metrics(path, 2)
    assert [json.loads(line)["epoch"] for line in path.read_text(encoding="utf-8").splitlines()] == [1, 2]
    (tmp_path / "config.json").write_text('{"name": "to', encoding="utf-8")
    (tmp_path / checkpoint.NAME).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot read .*config\.json") as caught:
        encoder.prepare_run(parse_config({}), tmp_path)
    assert "--fresh" in (caught.value.hint or "")


def test_no_partial_checkpoint_is_ever_seen(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 1, "weights": torch.ones(3)})
    first = (tmp_path / checkpoint.NAME).read_bytes()

    class Unsaved:
        """Nothing that a checkpoint may hold: saving it fails half way."""

        def __reduce__(self) -> Any:
            raise OSError("no space left")

    with pytest.raises(UsageError, match=r"cannot write the checkpoint.*no space"):
        checkpoint.save(tmp_path, {"weights": torch.zeros(100_000), "bad": Unsaved()})
    assert (tmp_path / checkpoint.NAME).read_bytes() == first


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("failed writing")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, {"step": 1})

    def refused(state: Any, handle: Any) -> None:
        handle.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", refused)
    with pytest.raises(UsageError, match="cannot write the checkpoint"):
        checkpoint.save(tmp_path, {"step": 2})
    assert checkpoint.load(tmp_path) == {"step": 1}
    assert [left.name for left in tmp_path.iterdir()] == [checkpoint.NAME]


def test_measuring_the_average_leaves_the_weights_alone() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = checkpoint.Average(network, 0.9)
    with torch.no_grad():
        network[0].weight.add_(1.0)
    average.update(5)
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    with average.in_place():
        # min(0.9, 6 / 15) of the way is kept: 0.6 of the step is taken
        assert torch.allclose(network[0].weight, kept["0.weight"] - 0.4)
    assert equal(kept, dict(network.state_dict()))


def test_a_run_on_pictures_that_were_changed_does_not_go_on(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path
) -> None:
    table = clip_table(toy_table, tmp_path)
    table["optim"]["epochs"] = 1
    run_dir = tmp_path / "run"
    train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data, export=False)
    manifest, before = (run_dir / encoder.MANIFEST).read_bytes(), checkpoint.load(run_dir)
    table["optim"]["epochs"] = 2
    away = toy_data / "told" / "train" / "city101.png"
    away.rename(tmp_path / "away.png")
    with pytest.raises(ConfigError, match=r"other pictures: train/city101\.png of told") as caught:
        train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data, export=False)
    assert "--fresh" in (caught.value.hint or "")
    assert (run_dir / encoder.MANIFEST).read_bytes() == manifest  # which still tells what the weights have seen
    assert equal(before, checkpoint.load(run_dir))
    (tmp_path / "away.png").rename(away)
    result = train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data, export=False)
    assert result.metrics["epoch"] == 2


def test_begun_anew_nothing_of_the_run_before_is_left(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path
) -> None:
    table = clip_table(toy_table, tmp_path)
    table["tuning"] = {"method": "bitfit"}
    table["optim"]["epochs"] = 1
    run_dir = tmp_path / "run"
    train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data)
    left = {path.relative_to(run_dir) for path in run_dir.rglob("*")}
    table["data"]["sources"][0]["path"] = "scences"
    with pytest.raises(SourceError):  # before anything is taken away
        train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data, resume=False)
    assert {path.relative_to(run_dir) for path in run_dir.rglob("*")} == left
    table["data"]["sources"][0] |= {"path": "scenes", "limit": 9}
    with pytest.raises(KeyboardInterrupt):
        steps = Stops(1, signal.SIGINT)
        train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data, resume=False, steps=steps)
    names = {path.name for path in run_dir.iterdir()} - {"curves.png"}
    assert names == {"config.json", "manifest.jsonl", "metrics.jsonl", "checkpoint.pt"}


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"weights": torch.zeros(1000)})
    whole = (tmp_path / checkpoint.NAME).read_bytes()
    (tmp_path / checkpoint.NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadModelFile, match="cannot read the checkpoint") as caught:
        checkpoint.load(tmp_path)
    assert "--fresh" in (caught.value.hint or "")
