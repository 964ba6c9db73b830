"""Feature maps are the tower's own, at any size; a file that is not the one described is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.models.dense import CELLS, SHIPPED, DenseEncoder
from rsrag.models.described import check_encoder, read_described
from rsrag.models.mini import MiniImageEncoder
from rsrag.models.registry import load_profile
from tests.support.towers import SIZES, semantic_of


@pytest.fixture(scope="module")
def dense() -> DenseEncoder:
    return DenseEncoder()


@pytest.fixture(scope="module")
def cells() -> DenseEncoder:
    return DenseEncoder(CELLS)


def picture(height: int, width: int) -> np.ndarray:
    rough = np.random.default_rng(5).integers(30, 220, (height, width, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(rough, (0, 0), 3) * 2 - 120, 0, 255).astype(np.uint8)


def test_the_mean_of_the_cells_is_the_vector_of_the_base_tower(dense: DenseEncoder, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    own = picture(SIZES["base"], SIZES["base"])
    mean = dense.maps(own, ["semantic"])["semantic"].mean(axis=(1, 2))
    vector = semantic_of("base", [own], tmp_path)[0]
    assert float(mean @ vector / np.linalg.norm(mean)) > 0.99


def test_cells_are_nearly_the_vector_of_whole_pictures(cells: DenseEncoder) -> None:
    assert list(cells.strides) == ["semantic"]
    own = picture(SIZES["words"], SIZES["words"])
    mean = cells.maps(own)["semantic"].mean(axis=(1, 2))
    encoder = load_profile(Settings()).image
    assert isinstance(encoder, MiniImageEncoder) and encoder.input_size == SIZES["words"] == 176
    vector = encoder.encode_images([own])[0][:256]
    assert float(mean @ vector / np.linalg.norm(mean) / np.linalg.norm(vector)) > 0.9


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 130), (33, 200), (16, 16)])
def test_maps_cover_pictures_of_any_size(dense: DenseEncoder, height: int, width: int) -> None:
    found = dense.maps(picture(height, width))
    for name, channels in (("fine", 128), ("middle", 256), ("coarse", 512), ("semantic", 256)):
        step = dense.strides[name]
        assert found[name].shape == (channels, -(-height // step), -(-width // step)), name
        assert np.isfinite(found[name]).all()


def test_a_change_far_away_changes_nothing_here(dense: DenseEncoder) -> None:
    first = picture(64, 640)
    second = first.copy()
    second[:, 600:] = 0
    ours, theirs = (dense.maps(one, ["fine"])["fine"][:, :, :30] for one in (first, second))
    assert np.abs(ours - theirs).max() < 1e-4


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match="no feature maps"):
        DenseEncoder(tmp_path)
    shutil.copytree(SHIPPED, tmp_path / "dense")
    with (tmp_path / "dense" / "encoder.onnx").open("ab") as file:
        file.write(b"!")
    with pytest.raises(BadModelFile, match="not the file its config describes"):
        DenseEncoder(tmp_path / "dense")


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"sha256": {}}', '{"sha256": 3}'])
def test_a_config_without_digests_is_damaged(tmp_path: Path, config: str) -> None:
    (tmp_path / "head.onnx").write_bytes(b"x")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadModelFile, match="no head in"):
        read_described(tmp_path, ["head.onnx"], "head")


def test_a_part_of_another_encoder_is_refused() -> None:
    check_encoder(SHIPPED, {"encoder": "a"}, "a", "rsrag.train.change")
    with pytest.raises(BadModelFile, match="trained on b, not on a"):
        check_encoder(SHIPPED, {"encoder": "b"}, "a", "rsrag.train.change")


def test_the_maps_come_from_the_shipped_tower() -> None:
    config = json.loads((SHIPPED / "config.json").read_text())
    tower = json.loads((SHIPPED.parent / "image" / "config.json").read_text())
    base = tower.get("joined", {}).get("base", tower["sha256"]["encoder.onnx"])  # of two joined towers, the first
    assert config["from_sha256"] == base
    cells = json.loads((CELLS / "config.json").read_text())
    assert cells["from_sha256"] in (SHIPPED.parent / "MODEL_CARD.md").read_text()  # of an earlier words tower
