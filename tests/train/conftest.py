"""Generated pictures and a miniature configuration for the training tests."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLASSES = {"BareSoil": (150, 110, 70), "OpenWater": (20, 60, 130), "forest": (20, 90, 30), "city": (150, 150, 150)}


def picture(name: str, seed: int, side: int = 40) -> np.ndarray:
    """A textured square, uint8 [side, side, 3], whose colour and grain tell the class."""
    rng = np.random.default_rng([seed, len(name)])
    grain = {"BareSoil": 3, "OpenWater": 1, "forest": 12, "city": 40}[name]
    noise = np.kron(rng.normal(0, grain, (10, 10, 1)), np.ones((side // 10, side // 10, 1)))
    return np.clip(np.array(CLASSES[name]) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def scans_of_this_test(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans of training sets are kept in a folder of the test, and found by no other."""
    if find_spec("cv2") is not None:
        home = tmp_path_factory.mktemp("scans") / "training"
        monkeypatch.setattr("rsrag.train.sources.scans.folder", lambda: home)


@pytest.fixture
def toy_data(tmp_path: Path) -> Path:
    """A data directory with a folder set, a captioned set and a mosaic."""
    cv2 = pytest.importorskip("cv2")
    root = tmp_path / "data"
    for name in CLASSES:
        (root / "scenes" / "train" / name).mkdir(parents=True)
        for seed in range(8):
            cv2.imwrite(str(root / "scenes" / "train" / name / f"{seed}.png"), picture(name, seed)[..., ::-1])
    (root / "told" / "train").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for name in CLASSES:
        for seed in range(100, 104):
            file = f"train/{name}{seed}.png"
            cv2.imwrite(str(root / "told" / file), picture(name, seed)[..., ::-1])
            captions = [f"There is much {name} here .", f"there is much {name} here", f"some {name} from above"]
            rows.append({"file": file, "split": "train", "class": name, "captions": captions})
    rows.append({"file": "val/none.png", "split": "val", "class": "city", "captions": ["never read"]})
    (root / "told" / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    mosaic = np.concatenate([np.concatenate([picture(n, s, 100) for n in CLASSES], axis=1) for s in range(4)])
    cv2.imwrite(str(root / "world.png"), mosaic)
    cv2.imwrite(str(root / "relief.png"), cv2.resize(mosaic, None, fx=2, fy=2))
    return root


@pytest.fixture
def toy_table() -> dict[str, Any]:
    """Settings of a run that takes seconds."""
    return {
        "name": "toy",
        "seed": 3,
        "model": {"architecture": "resnet10t", "instance_hidden": 32, "instance_dim": 16, "text_hidden": 16},
        "optim": {"epochs": 2, "batch": 16, "sizes": [[0, 32]], "precision": "f32", "threads": 1, "ema": 0.9},
        "data": {
            "holdout": 0.2,
            "workers": 2,
            "mosaic": {"files": ["world.png", "relief.png"], "crops": 8, "min_size": 30, "max_size": 60},
            "sources": [
                {"path": "scenes", "kind": "folders", "labels": {"BareSoil": ["bare soil", "bare land"]}},
                {"path": "told", "kind": "captions"},
            ],
        },
    }
