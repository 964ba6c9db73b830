"""Two towers in one graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from rsrag.errors import BadModelFile  # noqa: E402
from rsrag.train import export_encoder, train_encoder  # noqa: E402
from rsrag.train.config import parse_config  # noqa: E402
from rsrag.train.join import join, main, reduction  # noqa: E402

PIXELS = np.random.default_rng(1).random((3, 3, 32, 32), dtype=np.float32)


def vectors(folder: Path, pixels: np.ndarray = PIXELS) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), providers=["CPUExecutionProvider"])
    semantic, instance = session.run(["semantic", "instance"], {"pixels": pixels})
    return semantic, instance


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tower, and one trained on from it with the same text head."""
    return tmp_path_factory.mktemp("towers") / "base", tmp_path_factory.mktemp("towers") / "words"


@pytest.fixture
def towers(exports: tuple[Path, Path], toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> tuple[Path, Path]:
    base, words = exports
    if not words.is_dir():
        first = train_encoder(parse_config(toy_table), run_dir=tmp_path / "first", data_dir=toy_data, export=False)
        export_encoder(first.run_dir, base, size=32)
        table = {**toy_table, "version": "7", "tuning": {"lock": "text"}}
        table["model"] = {**toy_table["model"], "pretrained": str(base)}
        table["optim"] = {**toy_table["optim"], "lr": 0.02, "epochs": 1}
        second = train_encoder(parse_config(table), run_dir=tmp_path / "second", data_dir=toy_data, export=False)
        export_encoder(second.run_dir, words, size=32)
    return base, words


def test_words_are_the_mean_and_places_the_base(towers: tuple[Path, Path], tmp_path: Path) -> None:
    base, words = towers
    table = join(base, words, tmp_path / "both", size=32, share=0.75)
    semantic, instance = vectors(tmp_path / "both")
    (first, place), (second, _) = vectors(base), vectors(words)
    assert not np.allclose(first, second, atol=1e-2)
    assert np.allclose(semantic, unit(0.25 * first + 0.75 * second), atol=3e-3)
    assert np.allclose(instance, place, atol=3e-3)
    assert table["version"] == "7" and table["joined"]["share"] == 0.75
    assert json.loads((tmp_path / "both" / "config.json").read_text()) == table
    sizes = [(folder / "encoder.onnx").stat().st_size for folder in (base, words, tmp_path / "both")]
    assert sizes[2] < 0.6 * (sizes[0] + sizes[1])


def test_a_base_that_sees_less_gets_area_means(towers: tuple[Path, Path], tmp_path: Path) -> None:
    base, words = towers
    large = np.random.default_rng(2).random((2, 3, 48, 48), dtype=np.float32)
    table = join(base, words, tmp_path / "both", size=48, base_size=32, share=1.0)
    semantic, instance = vectors(tmp_path / "both", large)
    assert (table["input_size"], table["joined"]["base_size"]) == (48, 32)
    smaller = np.stack([cv2.resize(p.transpose(1, 2, 0), (32, 32), interpolation=cv2.INTER_AREA) for p in large])
    assert np.allclose(instance, vectors(base, smaller.transpose(0, 3, 1, 2))[1], atol=3e-3)
    join(words, words, tmp_path / "alone", size=48, share=1.0)
    assert np.allclose(semantic, vectors(tmp_path / "alone", large)[0], atol=3e-3)
    join(tmp_path / "both", words, tmp_path / "again", size=32, share=0.0)  # its base sees all once more
    assert np.allclose(vectors(tmp_path / "again")[1], vectors(base)[1], atol=3e-3)
    with pytest.raises(BadModelFile, match="a base of 64 px in a tower of 48 px"):
        join(base, words, tmp_path / "no", size=48, base_size=64, share=1.0)


@given(size=st.integers(1, 200), to=st.integers(1, 200))
def test_reduction_takes_every_pixel_once(size: int, to: int) -> None:
    means = reduction(size, to)
    assert means.shape == (to, size) and (means >= 0).all()
    assert np.allclose(means.sum(axis=1), 1, atol=1e-5) and np.allclose(means.sum(axis=0), to / size, atol=1e-5)


def test_two_turns(towers: tuple[Path, Path], tmp_path: Path) -> None:
    base, words = towers
    assert main([str(base), str(words), str(tmp_path / "both"), "--size", "32", "--turns", "2"]) == 0
    mirrored = np.ascontiguousarray(PIXELS.transpose(0, 1, 3, 2))
    seen = vectors(words)[0] + vectors(words, mirrored)[0]
    assert np.allclose(vectors(tmp_path / "both")[0], unit(0.5 * vectors(base)[0] + 0.25 * seen), atol=3e-3)


def test_a_joined_tower_can_be_the_base_of_another(towers: tuple[Path, Path], tmp_path: Path) -> None:
    base, words = towers
    join(base, words, tmp_path / "once", size=32, share=0.5)
    again = join(tmp_path / "once", words, tmp_path / "twice", size=32, share=0.5)
    assert again["joined"] == json.loads((tmp_path / "once" / "config.json").read_text())["joined"]
    for one, other in zip(vectors(tmp_path / "once"), vectors(tmp_path / "twice"), strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_other_text_heads_are_refused(
    towers: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, words = towers
    (tmp_path / "other").mkdir()
    for path in words.iterdir():
        (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "other" / "text_head.safetensors").write_bytes(b"another")
    with pytest.raises(BadModelFile, match="other text heads"):
        join(base, tmp_path / "other", tmp_path / "out", size=32, share=0.5)
    for name, message in (("other", "other text heads"), ("none", "No such file")):
        assert main([str(base), str(tmp_path / name), str(tmp_path / "out"), "--size", "32"]) == 1
        said = capsys.readouterr()
        assert said.err.startswith("error: ") and message in said.err and not said.out
