"""An exported tower is the same network again, and can be trained."""

from __future__ import annotations

import json
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
from rsrag.train.join import reduction  # noqa: E402
from rsrag.train.thaw import settle  # noqa: E402
from rsrag.train.towers.mini import MiniTower  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "rsrag" / "models" / "weights" / "mini" / "image"


def of_graph(folder: Path, pixels: np.ndarray) -> list[np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), providers=["CPUExecutionProvider"])
    return session.run(["semantic", "instance"], {"pixels": pixels})


def of_tower(tower: MiniTower, pixels: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [part.numpy() for part in tower.image_vectors(torch.from_numpy(pixels))]


def close(made: list[np.ndarray], wanted: list[np.ndarray], atol: float) -> bool:
    return all(np.allclose(a, b, atol=atol) for a, b in zip(made, wanted, strict=True))


def test_the_shipped_tower_thaws_to_its_base(tmp_path: Path) -> None:
    table = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    side, seen = table["input_size"], table["joined"]["base_size"]
    pixels = np.random.default_rng(0).random((2, 3, side, side), dtype=np.float32)
    means = reduction(side, seen).astype(np.float16).astype(np.float32)  # as the graph has them
    tower = MiniTower(ModelConfig(architecture="cs3darknet_s", pretrained=str(SHIPPED))).eval()
    ours = of_tower(tower, means @ (pixels @ means.T))
    assert tower.unsettled and close(ours[1:], of_graph(SHIPPED, pixels)[1:], 1e-4)


def test_an_export_thaws_to_itself_and_settles_without_a_change(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path
) -> None:
    run = train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    export_encoder(run.run_dir, tmp_path / "export", size=32)
    pixels = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
    wanted = of_graph(tmp_path / "export", pixels)
    config = ModelConfig(**{**toy_table["model"], "pretrained": str(tmp_path / "export")})
    tower = MiniTower(config).eval()
    assert tower.unsettled and close(of_tower(tower, pixels), wanted, 1e-4)
    settle(tower, torch.from_numpy(pixels))
    assert not tower.unsettled and close(of_tower(tower, pixels), wanted, 1e-4)
    tower.train()  # on the pictures it settled on, the statistics of the batch are the same
    assert close(of_tower(tower, pixels), wanted, 2e-3)


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
