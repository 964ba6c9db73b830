"""Encoders by profile, by name and by path; what is wrong is said before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from picture_sets import classes, write

import rsrag
from rsrag.errors import BadModelFile, ConfigError, ModelError, UsageError
from rsrag.eval.datasets.images import read_folders
from rsrag.eval.encoders import choose_row, embed, embed_words, open_encoder, start_encoder
from rsrag.models.base import ImageEncoder, ModelRow, Picture, Vectors

SHIPPED = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "image"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder as the export of a tower writes it."""
    folder = tmp_path / "weights" / "mine"
    folder.mkdir(parents=True)
    for name in ("config.json", "encoder.onnx", "text_head.safetensors", "words_head.safetensors"):
        (folder / name).symlink_to(SHIPPED / name)
    return folder


def test_by_default_the_default_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_row().name == "mini-image"
    assert choose_row("base").name == "georsclip-vit-b-32"
    monkeypatch.setenv("RSRAG_PROFILE", "large")
    assert choose_row().name == "georsclip-vit-h-14"
    assert choose_row("mini").name == "mini-image"


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_row(encoder="remoteclip-vit-b-32").backend == "open_clip"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini-image").mkdir()  # a folder of that name does not hide the model
    assert choose_row(encoder="mini-image").source == "weights/mini/image"


def test_an_exported_tower_gives_the_vectors_of_its_files(exported: Path) -> None:
    row = choose_row(encoder=str(exported))
    assert (row.name, row.backend, Path(row.source)) == ("mine", "mini_image", exported)
    mine, shipped = open_encoder(encoder=str(exported)), open_encoder()
    pixels = np.random.default_rng(0).integers(0, 255, (50, 40, 3)).astype(np.uint8)
    assert np.array_equal(mine.encode_images([pixels]), shipped.encode_images([pixels]))
    assert np.array_equal(embed_words(mine, ["a lake"]), embed_words(shipped, ["a lake"]))


def test_a_row_as_toml(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('backend = "mini_image"\nsource = "weights/mine"\n')
    row = choose_row(encoder=str(path))
    assert (row.name, row.kind, Path(row.source)) == ("mine", "image", exported)
    path.write_text('name = "x"\nbackend = "open_clip"\nsource = "owner/x"\n[options]\narchitecture = "ViT-B-32"\n')
    row = choose_row(encoder=str(path))
    assert (row.name, row.source, row.options["architecture"]) == ("x", "owner/x", "ViT-B-32")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backend = ", "cannot read"),
        ('backend = "mini_image"', "source must be given"),
        ("backend = 3\nsource = 4", "backend and source must be given"),
        ('backend = "mini_image"\nsource = "x"\nimage = "y"', r"unknown image \(fields"),
        ('backend = "mini_image"\nsource = "x"\nkind = "text"', "a model for text"),
        ('backend = "mini_image"\nsource = "x"\noptions = "y"', "options must be a table"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "row.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        choose_row(encoder=str(path))


def test_wrong_wishes(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UsageError, match="both a profile and an encoder"):
        choose_row("mini", "mini-image")
    with pytest.raises(UsageError, match=r"no image encoder 'minimage'.*known encoders: mini-image"):
        choose_row(encoder="minimage")
    with pytest.raises(UsageError, match="a model for text, not for images"):
        choose_row(encoder="mini-text")
    with pytest.raises(ConfigError, match="unknown profile"):
        choose_row("huge")
    with pytest.raises(BadModelFile, match=r"neither encoder\.onnx nor"):
        choose_row(encoder=str(tmp_path))
    (exported / "config.json").unlink()
    with pytest.raises(BadModelFile, match=r"no config\.json"):
        choose_row(encoder=str(exported))


def test_weights_without_architecture_and_pickles(tmp_path: Path) -> None:
    for name, message in (("a.safetensors", "which architecture"), ("a.pt", "pickled"), ("a.bin", "pickled")):
        (tmp_path / name).write_bytes(b"\x00" * 16)
        with pytest.raises(BadModelFile, match=message):
            choose_row(encoder=str(tmp_path / name))
    (tmp_path / "b.safetensors").write_bytes(b"\x00" * 16)
    with pytest.raises(BadModelFile, match=r"several \.safetensors"):
        choose_row(encoder=str(tmp_path))


def test_a_config_without_what_is_needed(exported: Path) -> None:
    (exported / "config.json").unlink()
    (exported / "config.json").write_text(json.dumps({"dim": 384}))
    with pytest.raises(BadModelFile, match="input_size"):
        open_encoder(encoder=str(exported))


def test_a_model_that_is_no_image_encoder() -> None:
    with pytest.raises(ModelError, match="does not encode images"):
        start_encoder(ModelRow("extractive", "image", "extractive", "x"))


def test_vectors_come_in_the_order_of_the_set(tmp_path: Path) -> None:
    found = read_folders(write(tmp_path, classes(each=2)))
    encoder = open_encoder()
    vectors = embed(encoder, found)
    assert vectors.shape == (6, encoder.dim) and vectors.dtype == np.float32
    for row, batch in enumerate(found.batches(1)):
        assert vectors[row] == pytest.approx(encoder.encode_images(batch)[0], abs=1e-5)


class Broken:
    """An encoder whose vectors cannot be used."""

    name, fingerprint, dim, input_size = "broken", "broken:1", 4, 8

    def __init__(self, width: int, value: float) -> None:
        self._width, self._value = width, value

    def encode_images(self, pictures: list[Picture]) -> Vectors:
        return np.full((len(pictures), self._width), self._value, dtype=np.float32)

    def encode_words(self, texts: list[str]) -> Vectors:
        return np.full((len(texts), self._width), self._value, dtype=np.float32)


@pytest.mark.parametrize(("width", "value"), [(3, 0.5), (4, np.nan)])
def test_vectors_of_another_shape_or_not_finite_are_refused(tmp_path: Path, width: int, value: float) -> None:
    found = read_folders(write(tmp_path, classes()))
    encoder = Broken(width, value)
    assert isinstance(encoder, ImageEncoder)
    with pytest.raises(ModelError, match="no usable vectors for pictures"):
        embed(encoder, found)
    with pytest.raises(ModelError, match="no usable vectors for texts"):
        embed_words(encoder, ["a"])
