"""The encoders in the package: they load without torch, check their files, and give the vectors they promise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import rsrag
from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.models import mini
from rsrag.models.base import ImageEncoder, ModelRow, Picture, TextEncoder
from rsrag.models.mini import MiniImageEncoder, MiniTextEncoder

SHIPPED = Path(rsrag.__file__).parent / "models" / "weights" / "mini"
TEXTS = ["A lake in the mountains.", "How deep is the lake?", "An airport with two runways"]


def image_encoder(source: Path = SHIPPED / "image") -> MiniImageEncoder:
    return MiniImageEncoder(ModelRow("mini-image", "image", "mini_image", str(source), dim=384), Settings())


def text_encoder(source: Path = SHIPPED / "text") -> MiniTextEncoder:
    return MiniTextEncoder(ModelRow("mini-text", "text", "mini_text", str(source), dim=256), Settings())


@pytest.fixture(scope="module")
def images() -> MiniImageEncoder:
    return image_encoder()


@pytest.fixture(scope="module")
def texts() -> MiniTextEncoder:
    return text_encoder()


def pictures(count: int = 5) -> list[Picture]:
    """Different pictures of different shapes, smaller and larger than the input."""
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        coarse = rng.integers(0, 255, (4 + number, 5, 3))
        made.append(coarse.repeat(20 + 9 * number, axis=0).repeat(30, axis=1).astype(np.uint8))
    return made


def norms(vectors: np.ndarray) -> list[float]:
    return [float(n) for n in np.linalg.norm(vectors, axis=1)]


def test_they_are_the_encoders_the_engine_asks_for(images: MiniImageEncoder, texts: MiniTextEncoder) -> None:
    assert isinstance(images, ImageEncoder)
    assert isinstance(texts, TextEncoder)
    assert (images.dim, texts.dim) == (384, 256)
    assert images.fingerprint.startswith("mini-image:")
    assert texts.fingerprint.startswith("mini-text:")


def test_vectors_have_the_size_and_norm_they_promise(images: MiniImageEncoder, texts: MiniTextEncoder) -> None:
    seen, words = images.encode_images(pictures()), images.encode_words(TEXTS)
    read, asked = texts.encode_passages(TEXTS), texts.encode_questions(TEXTS)
    assert (seen.shape, words.shape, read.shape) == ((5, 384), (3, 384), (3, 256))
    for vectors in (seen, words, read, asked):
        assert vectors.dtype == np.float32
        assert norms(vectors) == pytest.approx([1.0] * len(vectors), abs=1e-5)
    assert np.array_equal(read, asked)


def test_nothing_in_nothing_out(images: MiniImageEncoder, texts: MiniTextEncoder) -> None:
    assert images.encode_images([]).shape == (0, 384)
    assert images.encode_words([]).shape == (0, 384)
    assert texts.encode_passages([]).shape == (0, 256)


def test_a_text_without_words_has_no_direction(texts: MiniTextEncoder) -> None:
    assert not texts.encode_passages(["", "lake"])[0].any()


def test_a_vector_does_not_depend_on_its_batch(images: MiniImageEncoder, texts: MiniTextEncoder) -> None:
    many = pictures(3) * 12  # more than one batch of the session
    together = images.encode_images(many)
    alone = np.concatenate([images.encode_images([picture]) for picture in many[:3]])
    np.testing.assert_allclose(together[:3], alone, atol=1e-5)
    np.testing.assert_allclose(together[-3:], alone, atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-2)
    lone = np.concatenate([texts.encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(texts.encode_passages(TEXTS), lone, atol=1e-6)


def test_the_same_input_gives_the_same_vectors_in_another_encoder(images: MiniImageEncoder) -> None:
    assert np.array_equal(images.encode_images(pictures()), image_encoder().encode_images(pictures()))
    assert np.array_equal(images.encode_words(TEXTS), image_encoder().encode_words(TEXTS))


def test_words_live_in_the_semantic_part_alone(images: MiniImageEncoder) -> None:
    words = images.encode_words(TEXTS)
    assert not words[:, 256:].any()
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)
    assert images.encode_images(pictures(1))[0, 256:].any()


def test_a_head_fitted_to_the_tower_is_not_that_of_its_cells(images: MiniImageEncoder, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "image", tmp_path / "image")
    path = tmp_path / "image" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["sha256"]["words_head.safetensors"]
    path.write_text(json.dumps(config), encoding="utf-8")
    without = image_encoder(tmp_path / "image")
    np.testing.assert_array_equal(without.encode_words(TEXTS)[:, :256], images.semantic_words(TEXTS))
    np.testing.assert_array_equal(without.semantic_words(TEXTS), images.semantic_words(TEXTS))
    cosines = (without.encode_words(TEXTS) * images.encode_words(TEXTS)).sum(axis=1)
    assert (cosines < 0.9999).all() and (cosines > 0.7).all()


def test_alpha_weighs_the_parts_and_changes_the_fingerprint(images: MiniImageEncoder, tmp_path: Path) -> None:
    other = tmp_path / "image"
    shutil.copytree(SHIPPED / "image", other)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "alpha": 0.25}), encoding="utf-8")
    weighed = image_encoder(other)
    assert weighed.fingerprint != images.fingerprint
    shares = [float((e.encode_images(pictures(1))[0, :256] ** 2).sum()) for e in (images, weighed)]
    assert shares == pytest.approx([config["alpha"], 0.25], abs=1e-4)


@pytest.mark.parametrize("name", ["encoder.onnx", "text_head.safetensors", "words_head.safetensors"])
def test_a_changed_byte_in_the_tower_is_noticed(name: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "image", tmp_path / "image")
    flip(tmp_path / "image" / name)
    encoder = image_encoder(tmp_path / "image")
    with pytest.raises(BadModelFile, match=name):
        _ = encoder.encode_images(pictures(1)), encoder.encode_words(TEXTS), encoder.semantic_words(TEXTS)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_changed_byte_in_the_text_model_is_noticed(name: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "text", tmp_path / "text")
    flip(tmp_path / "text" / name)
    with pytest.raises(BadModelFile, match=name):
        text_encoder(tmp_path / "text").encode_passages(TEXTS)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_file_the_config_does_not_vouch_for_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "image", tmp_path / "image")
    config = json.loads((tmp_path / "image" / "config.json").read_text(encoding="utf-8"))
    del config["sha256"]["encoder.onnx"]
    (tmp_path / "image" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BadModelFile, match=r"encoder\.onnx"):
        image_encoder(tmp_path / "image").encode_images(pictures(1))


@pytest.mark.parametrize(
    ("config", "reason"),
    [(None, "no config.json"), ("{", "cannot read"), ("[1]", "is not an object"), ('{"sha256": []}', "sha256 is not")],
)
def test_folders_without_a_model(config: str | None, reason: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    for make in (image_encoder, text_encoder):
        with pytest.raises(BadModelFile, match=reason):
            make(tmp_path)


@pytest.mark.parametrize("config", ['{"architectures": ["BertModel"]}', '{"dim": "many"}', '{"dim": null}'])
def test_a_config_of_something_else_is_no_image_tower(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(BadModelFile, match="describes no image tower"):
        image_encoder(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "image" / "config.json", tmp_path)
    with pytest.raises(BadModelFile, match=r"cannot read .*encoder\.onnx"):
        image_encoder(tmp_path).encode_images(pictures(1))


def test_torch_is_never_imported() -> None:
    code = (
        "import sys, numpy as np\n"
        "from rsrag.config import Settings\n"
        "from rsrag.models.registry import load_profile\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "profile = load_profile(Settings())\n"
        "profile.image.encode_images([np.zeros((9, 9, 3), np.uint8)])\n"
        "profile.image.encode_words(['lake'])\n"
        "profile.text.encode_passages(['lake'])\n"
        "print(sorted({'torch', 'transformers', 'open_clip'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


def test_both_encoders_read_the_static_vectors_once(texts: MiniTextEncoder, images: MiniImageEncoder) -> None:
    texts.encode_passages(TEXTS)
    images.encode_words(TEXTS)
    read = mini._static_model.cache_info().misses
    text_encoder().encode_passages(TEXTS)
    image_encoder().encode_words(TEXTS)
    assert mini._static_model.cache_info().misses == read


def test_threads_get_the_vectors_of_one(images: MiniImageEncoder, texts: MiniTextEncoder) -> None:
    told = [f"{text} {'really ' * number}" for number in range(30) for text in TEXTS]
    words = [images.encode_words([text])[0] for text in told]
    read = [texts.encode_passages([text])[0] for text in told]
    start = threading.Barrier(8)

    def work(_: int) -> None:
        start.wait(30)
        for number, text in enumerate(told):
            assert np.array_equal(images.encode_words([text])[0], words[number])
            assert np.array_equal(texts.encode_questions([text])[0], read[number])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_text_vectors_are_those_of_model2vec(texts: MiniTextEncoder) -> None:
    static = pytest.importorskip("model2vec").StaticModel.from_pretrained(SHIPPED / "text")
    told = [*TEXTS, "", " ", "☃", "word " * 900, "[UNK] [PAD] lake", "Übersee – naïve 東京"]
    assert np.abs(texts.encode_passages(told) - static.encode(told)).max() < 1e-6
