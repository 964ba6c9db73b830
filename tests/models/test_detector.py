"""Detectors by words: the real loading code on tiny random checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, MissingExtra, ModelError
from rsrag.models import registry
from rsrag.models.base import ModelRow
from tests.support import checkpoints, detectors

pytest.importorskip("transformers")
pytest.importorskip("torchvision")
PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["sentence", "list"])
def row(request: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelRow:
    words = str(request.param)
    make = detectors.grounding_dino if words == "sentence" else detectors.owlv2
    folder = make(tmp_path_factory.mktemp(words))
    return ModelRow("tiny", "detector", "transformers_detector", str(folder), options={"words": words})


def test_boxes_lie_in_the_picture_and_belong_to_the_things_asked_for(row: ModelRow, no_socket: None) -> None:
    model = registry.load(row, Settings(device="cpu"))
    found = model.detect(PICTURE, ["ship", "storage tank"], least=0.0)
    assert len(found) > 0
    assert set(found.labels.tolist()) <= {0, 1}
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2] <= 120).all()
    assert (found.boxes[:, 3] <= 90).all()
    assert (found.boxes[:, 2:] - found.boxes[:, :2] >= 1).all()
    again = registry.load(row, Settings(device="cpu")).detect(PICTURE, ["ship", "storage tank"], least=0.0)
    np.testing.assert_allclose(found.boxes, again.boxes, atol=1e-4)


def test_a_high_threshold_and_empty_words_give_nothing(row: ModelRow) -> None:
    model = registry.load(row, Settings(device="cpu"))
    assert len(model.detect(PICTURE, ["ship"], least=1.01)) == 0
    assert len(model.detect(PICTURE, [" . "])) == 0


def test_the_fingerprint_follows_the_weights(row: ModelRow, tmp_path: Path) -> None:
    model = registry.load(row, Settings(device="cpu"))
    make = detectors.grounding_dino if row.options["words"] == "sentence" else detectors.owlv2
    other = ModelRow("t", "detector", "transformers_detector", str(make(tmp_path, 1)), options=row.options)
    assert model.fingerprint.startswith("transformers_detector:")
    assert model.fingerprint != registry.load(other, Settings(device="cpu")).fingerprint


def test_missing_tensors_are_refused(row: ModelRow, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in Path(row.source).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in tensors if "class_head" in name or "text_projection" in name)
    save_file({k: v for k, v in tensors.items() if k != gone}, tmp_path / "model.safetensors", {"format": "pt"})
    broken = ModelRow("t", "detector", "transformers_detector", str(tmp_path), options=row.options)
    with pytest.raises(BadModelFile, match="lacks 1 tensors"):
        registry.load(broken, Settings(device="cpu")).detect(PICTURE, ["ship"])


def test_pickles_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadModelFile, match=r"no \.safetensors"):
        registry.load(ModelRow("t", "detector", "transformers_detector", str(tmp_path)), Settings())


def test_damaged_settings_are_named(row: ModelRow, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "owlv2"}))
    with pytest.raises(BadModelFile, match="cannot load"):
        registry.load(ModelRow("t", "detector", "transformers_detector", str(tmp_path)), Settings(device="cpu")).detect(
            PICTURE, ["ship"]
        )


@pytest.mark.parametrize("options", [{"words": "poem"}, {"threshold": "high"}])
def test_wrong_options(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(options.values()))):
        registry.load(ModelRow("t", "detector", "transformers_detector", str(tmp_path), options=options), Settings())


def test_without_transformers_the_extra_is_named(row: ModelRow, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"rsrag\[models\]"):
        registry.load(row, Settings(device="cpu")).detect(PICTURE, ["ship"])


def test_the_registry_s_detectors_say_how_they_read_words() -> None:
    rows = [row for row in registry.MODELS if row.kind == "detector"]
    assert {row.name for row in rows} >= {"grounding-dino-tiny", "owlv2-base-patch16-ensemble"}
    assert all(row.options["words"] in ("sentence", "list") and 0 < float(row.options["threshold"]) < 1 for row in rows)


def test_damaged_weights_are_no_picture_without_things(row: ModelRow, tmp_path: Path) -> None:
    broken = checkpoints.undefined(Path(row.source), tmp_path / "broken")
    model = registry.load(replace(row, source=str(broken)), Settings(device="cpu"))
    with pytest.raises(ModelError, match="weights may be damaged"):
        model.detect(PICTURE, ["ship"])


def test_a_vocabulary_is_not_made_up(row: ModelRow, tmp_path: Path) -> None:
    bare = checkpoints.without_vocabulary(Path(row.source), tmp_path / "bare")
    model = registry.load(replace(row, source=str(bare)), Settings(device="cpu"))
    with pytest.raises(BadModelFile, match="holds no vocabulary"):
        model.detect(PICTURE, ["ship"])
