"""Large segmenters: the real loading code on tiny random checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, ModelError
from rsrag.models import registry
from rsrag.models.base import ModelRow
from tests.support import checkpoints as damaged
from tests.support import segmenters

pytest.importorskip("transformers")
pytest.importorskip("torchvision")
PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
BOXES = [(10.0, 10.0, 50.0, 40.0), (60.0, 20.0, 100.0, 80.0)]
MAKERS = {"words": segmenters.clipseg, "boxes": segmenters.sam, "labels": segmenters.mask2former}


def row_of(folder: Path, prompt: str) -> ModelRow:
    return ModelRow("tiny", "segmenter", "transformers_segmenter", str(folder), options={"prompt": prompt})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {prompt: make(tmp_path_factory.mktemp(prompt)) for prompt, make in MAKERS.items()}


def load(checkpoints: dict[str, Path], prompt: str) -> Any:
    return registry.load(row_of(checkpoints[prompt], prompt), Settings(device="cpu"))


def test_words_give_a_score_for_every_pixel(checkpoints: dict[str, Path], no_socket: None) -> None:
    model = load(checkpoints, "words")
    score = model.named(PICTURE, "water")
    assert score.shape == (90, 120) and score.dtype == np.float32 and 0 <= score.min() < score.max() <= 1
    assert np.array_equal(score, load(checkpoints, "words").named(PICTURE, "water"))
    assert not np.array_equal(score, model.named(PICTURE, "a forest"))


def test_boxes_give_a_mask_each(checkpoints: dict[str, Path], no_socket: None) -> None:
    model = load(checkpoints, "boxes")
    masks = model.boxed(PICTURE, BOXES)
    assert masks.shape == (2, 90, 120) and set(np.unique(masks)) <= {0.0, 1.0}
    many = model.boxed(PICTURE, BOXES * 10)
    assert many.shape[0] == 20 and (many[18:] != masks).mean() < 1e-3
    assert model.boxed(PICTURE, []).shape == (0, 90, 120)


@pytest.mark.parametrize("prompt", list(MAKERS))
def test_a_prompt_of_the_other_kind_is_refused(prompt: str, checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints, prompt)
    with pytest.raises(ConfigError, match=f"is prompted by {prompt}"):
        model.boxed(PICTURE, BOXES) if prompt == "words" else model.named(PICTURE, "water")
    with pytest.raises(ConfigError, match=f"is prompted by {prompt}"):
        model.named(PICTURE, "water") if prompt == "labels" else model.classed(PICTURE, [0])


def test_classes_give_a_score_for_every_pixel(checkpoints: dict[str, Path], no_socket: None) -> None:
    model = load(checkpoints, "labels")
    assert model.labels == ("house, building", "water", "tree")
    score = model.classed(PICTURE, [1])
    assert score.shape == (90, 120) and score.dtype == np.float32 and 0 <= score.min() < score.max() <= 1
    assert np.array_equal(score, load(checkpoints, "labels").classed(PICTURE, [1]))
    both = model.classed(PICTURE, [0, 1])
    assert (both >= score - 1e-6).all() and not np.array_equal(both, score)


def test_a_checkpoint_without_names_of_classes(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for file in checkpoints["labels"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadModelFile, match="names no classes"):
        _ = registry.load(row_of(tmp_path, "labels"), Settings(device="cpu")).labels


@pytest.mark.parametrize("prompt", list(MAKERS))
def test_missing_tensors_and_pickles_are_refused(prompt: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(BadModelFile, match=r"no \.safetensors"):
        registry.load(row_of(tmp_path, prompt), Settings())
    for file in checkpoints[prompt].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in tensors if "decoder" in name and name.endswith("weight"))
    save_file({k: v for k, v in tensors.items() if k != gone}, tmp_path / "model.safetensors", {"format": "pt"})
    broken = registry.load(row_of(tmp_path, prompt), Settings(device="cpu"))
    with pytest.raises(BadModelFile, match="lacks 1 tensors"):
        ask = {
            "words": lambda: broken.named(PICTURE, "water"),
            "boxes": lambda: broken.boxed(PICTURE, BOXES),
            "labels": lambda: broken.classed(PICTURE, [0]),
        }
        ask[prompt]()


def test_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="poem"):
        registry.load(row_of(tmp_path, "poem"), Settings())


def test_the_fingerprint_follows_the_weights(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    other = registry.load(row_of(segmenters.sam(tmp_path, 1), "boxes"), Settings(device="cpu"))
    assert load(checkpoints, "boxes").fingerprint != other.fingerprint


@pytest.mark.parametrize("prompt", list(MAKERS))
def test_damaged_weights_are_no_empty_mask(prompt: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    broken = damaged.undefined(checkpoints[prompt], tmp_path / "broken")
    model = registry.load(row_of(broken, prompt), Settings(device="cpu"))
    ask: dict[str, Any] = {
        "words": lambda: model.named(PICTURE, "water"),
        "boxes": lambda: model.boxed(PICTURE, BOXES),
        "labels": lambda: model.classed(PICTURE, [1]),
    }
    with pytest.raises(ModelError, match="weights may be damaged"):
        ask[prompt]()


def test_a_vocabulary_is_not_made_up(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    bare = damaged.without_vocabulary(checkpoints["words"], tmp_path / "bare")
    with pytest.raises(BadModelFile, match="holds no vocabulary"):
        registry.load(row_of(bare, "words"), Settings(device="cpu")).named(PICTURE, "water")
