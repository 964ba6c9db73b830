"""Training of the change network in miniature, and what it writes, read again by its loader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dates import built, ground, relit, truth

from rsrag.errors import BadModelFile
from rsrag.eval.datasets.change_pairs import LabelledPair, altered, digest
from rsrag.models.changehead import CHANNELS, LOOK, ChangeHead, colours_of, describe
from rsrag.models.dense import DenseEncoder

pytest.importorskip("torch")
pytest.importorskip("onnx")

from rsrag.train import change


def pair(number: int) -> LabelledPair:
    picture = ground(96, 96, number)
    boxes = [(8 + 6 * number, 10, 40 + 6 * number, 44), (50, 60, 80, 84)]
    return LabelledPair(f"made/{number}", picture, built(relit(picture, number), boxes), truth(picture, boxes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    root = tmp_path_factory.mktemp("pairs")
    for number in range(5):
        made = pair(number)
        for side, values in (("A", made.before), ("B", made.after), ("label", made.changed.astype(np.uint8) * 255)):
            (root / side).mkdir(exist_ok=True)
            Image.fromarray(values).save(root / side / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("head")
    assert change.main(["--pairs", str(folder), "--out", str(out), "--steps", "60", "--networks", "1"]) == 0
    return out


def test_it_learns_and_says_how_well(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert config["cross_validated"]["f1"] > 0.5 and config["pairs"] == 5
    assert config["pair_digests"][0] == digest(pair(0)) and config["encoder"] == DenseEncoder().fingerprint
    head = ChangeHead(trained)
    made = pair(7)
    found = head.probability(made.before, made.after, (colours_of(made.before), colours_of(made.after)))
    assert found.shape == (96, 96) and found.min() >= 0 and found.max() <= 1
    assert found[made.changed].mean() > 2 * found[~made.changed].mean()


def test_equal_settings_give_equal_weights() -> None:
    groups = change.gather([pair(0), pair(1)], DenseEncoder())
    one, two = (
        change.fit(groups, networks=1, steps=5, symmetric=True, reverse=False)[0].state_dict() for _ in range(2)
    )
    assert all(np.array_equal(one[name].numpy(), two[name].numpy()) for name in one)


def test_a_changed_file_or_another_encoder_is_refused(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / "head.onnx").write_bytes(b"other")
    with pytest.raises(BadModelFile, match="not the file its config describes"):
        ChangeHead(copy)
    again = shutil.copytree(trained, tmp_path / "again")
    config = json.loads((again / "config.json").read_text())
    (again / "config.json").write_text(json.dumps(config | {"encoder": "another"}))
    with pytest.raises(BadModelFile, match="was trained on another"):
        ChangeHead(again)
    with pytest.raises(BadModelFile, match="no change network"):
        ChangeHead(tmp_path / "nowhere")


def test_what_the_network_sees_of_a_picture() -> None:
    picture = ground(90, 70)
    seen = describe(DenseEncoder(), picture, colours_of(picture))
    assert seen.shape == (CHANNELS + LOOK, 18, 23) and np.isfinite(seen).all()


@pytest.mark.parametrize("kind", ["shift", "gamma", "blur", "noise"])
def test_altered_pictures_show_the_same_ground(kind: str) -> None:
    picture = ground()
    other = altered(picture, kind, 1.5, seed=3)
    assert other.shape == picture.shape and other.dtype == np.uint8 and not np.array_equal(other, picture)
    assert np.array_equal(other, altered(picture, kind, 1.5, seed=3))
    assert np.abs(other.astype(float) - picture).mean() < 60
    with pytest.raises(ValueError, match="no alteration"):
        altered(picture, "rain", 1.0)
