"""A head for words is fitted to a finished tower; the tower, its vectors and its own head stay."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("onnxscript")

from safetensors.numpy import load_file, save_file

from rsrag.errors import BadModelFile, ConfigError
from rsrag.train import export_encoder, train_encoder
from rsrag.train.config import TrainConfig, parse_config
from rsrag.train.data import load
from rsrag.train.evaluate import Exported
from rsrag.train.probe import of_sets
from rsrag.train.refit import Fitting, main, read_head, refit

FILES = ("encoder.onnx", "text_head.safetensors", "config.json", "words_head.safetensors")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refit") / "export"


@pytest.fixture
def tower(kept: Path, toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> Path:
    """An export whose head was spoilt: it knows nothing of pictures."""
    if not kept.is_dir():
        run = train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
        export_encoder(run.run_dir, kept, size=32)
        head = load_file(kept / FILES[1])
        rng = np.random.default_rng(0)
        save_file({key: rng.normal(0, 2, value.shape).astype("f4") for key, value in head.items()}, kept / FILES[1])
    return Path(shutil.copytree(kept, tmp_path / "tower"))


@pytest.fixture
def config(toy_table: dict[str, Any]) -> TrainConfig:
    optim = {"epochs": 40, "batch": 16, "lr": 3e-3, "ema": 0.9, "class_weight": 1.0}
    data = {"holdout": 0.2, "workers": 1, "sources": toy_table["data"]["sources"]}
    return parse_config({"name": "head", "version": "9", "seed": 5, "optim": optim, "data": data})


def test_words_meet_the_pictures_of_a_tower_that_stays(
    tower: Path, config: TrainConfig, toy_data: Path, tmp_path: Path
) -> None:
    made = refit(config, tower, tmp_path / "out", toy_data, share=1.0)
    for name in FILES[:2]:
        assert (tmp_path / "out" / name).read_bytes() == (tower / name).read_bytes()
    table = json.loads((tmp_path / "out" / FILES[2]).read_text())
    assert table == made["config"] and table["version"] == "9"
    assert table["sha256"].keys() == {FILES[0], FILES[1], FILES[3]}
    seen = load(config.data, toy_data, config.seed)
    before, after = Exported(tower), Exported(tmp_path / "out")
    images = before.images([item.pixels for item in seen.train])[0]
    first, second = (of_sets(images, seen.train, seen.names, encoder.words) for encoder in (before, after))
    assert all(second[f"top1/{name}"] > first[f"top1/{name}"] + 0.2 for name in ("scenes", "told"))
    assert second["mr/told"] > first["mr/told"] + 0.1
    assert made["before"].keys() == made["after"].keys() == {"top1/scenes", "top1/told", "mr/told"}


def test_a_share_lies_between_old_and_new(tower: Path, config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    for share in (0.0, 0.5, 1.0):
        refit(config, tower, tmp_path / str(share), toy_data, share=share)
    old, half, new = (load_file(tmp_path / str(share) / FILES[3]) for share in (0.0, 0.5, 1.0))
    for key, value in load_file(tower / FILES[1]).items():
        np.testing.assert_array_equal(old[key], value)
        np.testing.assert_allclose(half[key], (value + new[key]) / 2, atol=1e-6)
        assert np.abs(new[key] - value).max() > 1e-3


def test_in_place_and_twice_the_same(tower: Path, config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    refit(config, tower, tmp_path / "out", toy_data)
    refit(config, tower, tower, toy_data)
    assert all((tower / name).read_bytes() == (tmp_path / "out" / name).read_bytes() for name in FILES)


def test_pictures_without_a_text_teach_nothing(
    tower: Path, config: TrainConfig, toy_data: Path, toy_table: dict[str, Any]
) -> None:
    data = load(config.data, toy_data, config.seed)
    images = np.zeros((len(data.train), 256), dtype=np.float32)
    sentences = np.zeros((len(data.texts.sentences), 256), dtype=np.float32)
    data.texts.captions = [[] for _ in data.train]
    with pytest.raises(ConfigError, match="no picture has a caption or a class"):
        Fitting(images, sentences, data, config.optim, 0).train(read_head(tower / FILES[1]))


def test_what_holds_no_head_is_refused(tower: Path, config: TrainConfig, toy_data: Path, tmp_path: Path) -> None:
    (tower / FILES[1]).write_bytes(b"none")
    with pytest.raises(BadModelFile, match="holds no text head"):
        refit(config, tower, tmp_path / "out", toy_data)


def test_command_line(tower: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "head.toml"
    path.write_text(
        'name = "head"\n[optim]\nepochs = 1\nbatch = 8\n[data]\nholdout = 0.2\n'
        '[[data.sources]]\npath = "told"\nkind = "captions"\n'
    )
    assert main([str(path), str(tower), str(tmp_path / "out"), str(toy_data)]) == 0
    assert json.loads(capsys.readouterr().out)["after"].keys() == {"top1/told", "mr/told"}
    assert main([str(path), str(tmp_path / "nothing"), str(tmp_path / "out"), str(toy_data)]) != 0
    assert capsys.readouterr().err.startswith("error: ")


def test_without_held_out_pictures_nothing_is_measured(
    tower: Path, config: TrainConfig, toy_data: Path, tmp_path: Path
) -> None:
    every = replace(config, data=replace(config.data, holdout=0.0))
    made = refit(every, tower, tmp_path / "out", toy_data)
    assert made["before"] == made["after"] == {}
    with pytest.raises(ConfigError, match="a share of 2"):
        refit(every, tower, tmp_path / "out", toy_data, share=2)
