"""An exported tower is the same network again, and can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("onnxscript")

from rsrag.errors import BadModelFile  # noqa: E402
from rsrag.train import export_encoder, train_encoder  # noqa: E402
from rsrag.train.config import ModelConfig, parse_config  # noqa: E402
from rsrag.train.thaw import settle  # noqa: E402
from rsrag.train.towers.mini import MiniTower  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "rsrag" / "models" / "weights" / "mini" / "image"


def shipped_graph(pixels: np.ndarray) -> list[np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(SHIPPED / "encoder.onnx"), providers=["CPUExecutionProvider"])
    return session.run(["semantic", "instance"], {"pixels": pixels})


def close(tower: MiniTower, pixels: np.ndarray, wanted: list[np.ndarray]) -> bool:
    with torch.no_grad():
        made = tower.eval().image_vectors(torch.from_numpy(pixels))
    return all(np.allclose(a.numpy(), b, atol=1e-4) for a, b in zip(made, wanted, strict=True))


def test_the_shipped_tower_thaws_to_itself_and_settles_without_a_change() -> None:
    pixels = np.random.default_rng(0).random((6, 3, 112, 112), dtype=np.float32)
    wanted = shipped_graph(pixels)
    tower = MiniTower(ModelConfig(architecture="cs3darknet_s", pretrained=str(SHIPPED)))
    assert tower.unsettled and close(tower, pixels, wanted)
    settle(tower, torch.from_numpy(pixels))
    assert not tower.unsettled and close(tower, pixels, wanted)
    with torch.no_grad():  # in training mode, on the pictures it settled on, statistics of the batch are the same
        made = tower.train().image_vectors(torch.from_numpy(pixels))
    assert all(np.allclose(a.numpy(), b, atol=2e-3) for a, b in zip(made, wanted, strict=True))


def test_a_run_goes_on_from_an_export(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    first = train_encoder(parse_config(toy_table), run_dir=tmp_path / "first", data_dir=toy_data, export=False)
    export_encoder(first.run_dir, tmp_path / "export", size=32)
    table = {**toy_table, "model": {**toy_table["model"], "pretrained": str(tmp_path / "export")}}
    table["tuning"] = {"lock": "text"}
    table["data"] = {**toy_table["data"], "augment": "mixed", "mosaic": {"files": [], "crops": 0}}
    table["optim"] = {**toy_table["optim"], "views": 1, "instance_weight": 0, "class_weight": 1, "mix": 0.5}
    second = train_encoder(parse_config(table), run_dir=tmp_path / "second", data_dir=toy_data, export=False)
    assert second.metrics["class"] < 1.5 * first.metrics["loss"]
    export_encoder(second.run_dir, tmp_path / "more", size=32)
    assert (tmp_path / "more" / "text_head.safetensors").read_bytes() == (
        tmp_path / "export" / "text_head.safetensors"
    ).read_bytes()


def test_another_architecture_is_refused() -> None:
    with pytest.raises(BadModelFile, match="architecture"):
        MiniTower(ModelConfig(architecture="resnet10t", pretrained=str(SHIPPED)))
