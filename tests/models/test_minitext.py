"""The small sentence transformer in the package: it runs without torch, checks its files, keeps its promises."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsrag
from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.models import registry
from rsrag.models.base import ModelRow, TextEncoder
from rsrag.models.minitext import MAX_TOKENS, WORDS, MiniSentenceEncoder, _words, key_of, mix64, signs_of

SHIPPED = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "text2"
TEXTS = ["A lake in the mountains.", "How deep is the lake?", "An airport with two runways", "Þórsmörk, 北京, 2019"]


def encoder(source: Path = SHIPPED) -> MiniSentenceEncoder:
    return MiniSentenceEncoder(ModelRow("mini-sentence", "text", "mini_sentence", str(source)), Settings())


@pytest.fixture(scope="module")
def texts() -> MiniSentenceEncoder:
    return encoder()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped folder, free to be damaged."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "text2"))


def test_the_registry_knows_it(texts: MiniSentenceEncoder) -> None:
    row = registry.find("mini-sentence")
    loaded = registry.load(row, Settings())
    assert isinstance(loaded, MiniSentenceEncoder)
    assert isinstance(texts, TextEncoder)
    assert loaded.dim == row.dim == texts.dim == 896
    assert loaded.fingerprint == texts.fingerprint
    assert registry.available(row, Settings())[0]


def test_vectors_have_the_size_and_norm_they_promise(texts: MiniSentenceEncoder) -> None:
    vectors = texts.encode_passages(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((4, 896), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(texts.encode_questions(TEXTS), vectors)
    assert texts.encode_passages([]).shape == (0, 896)


@pytest.mark.parametrize("empty", ["", "   ", "\n\t"])
def test_a_text_without_a_token_has_no_direction(texts: MiniSentenceEncoder, empty: str) -> None:
    vectors = texts.encode_passages([empty, "lake", empty])
    assert not vectors[[0, 2]].any()
    np.testing.assert_array_equal(vectors[1], texts.encode_passages(["lake"])[0])


def test_a_vector_does_not_depend_on_its_neighbours(texts: MiniSentenceEncoder) -> None:
    long = "A glacier runs down from the mountain range to the fjord in the north. " * 8
    together = texts.encode_passages([*TEXTS, long])
    alone = np.concatenate([texts.encode_passages([text]) for text in [*TEXTS, long]])
    np.testing.assert_array_equal(together, alone)


def test_like_texts_lie_together(texts: MiniSentenceEncoder) -> None:
    asked = texts.encode_questions(["How tall is the lighthouse?"])[0]
    near, far = texts.encode_passages(["The beacon tower on the coast is 41 m high.", "Wheat grows on large fields."])
    assert asked @ near > asked @ far + 0.1


def test_only_the_first_tokens_count(texts: MiniSentenceEncoder) -> None:
    words = "lake " * MAX_TOKENS
    np.testing.assert_array_equal(texts.encode_passages([words]), texts.encode_passages([words + "airport " * 50]))
    assert not np.array_equal(texts.encode_passages(["lake"]), texts.encode_passages(["lake airport"]))


CUT = 384
KEY = 0xF4E985C92D2A3E7


def test_the_hash_is_what_it_was() -> None:
    # The first numbers of SplitMix64 from seed 0, as its authors' program prints them.
    assert mix64(0) == 0xE220A8397B1DCDAF
    assert mix64(0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4
    assert key_of([1996, 29], 1) == KEY
    signs = signs_of([0], 128)
    assert "".join("+" if sign > 0 else "-" for sign in signs[0, :16]) == "".join(
        "+" if 0xE220A8397B1DCDAF >> i & 1 else "-" for i in range(16)
    )
    assert sum(1 << i for i in range(64) if signs[0, 64 + i] > 0) == 0x6E789E6AA1B965F4


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20, unique=True))
def test_signs_are_those_of_the_scalar_hash(keys: list[int]) -> None:
    signs = signs_of(keys, 192)
    assert (signs.shape, signs.dtype) == ((len(keys), 192), np.int8)
    for key, row in zip(keys, signs, strict=True):
        for j in range(3):
            wanted = mix64((key + j * 0x9E3779B97F4A7C15) % 2**64)
            assert sum(1 << i for i in range(64) if row[64 * j + i] > 0) == wanted


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(5, 30521), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_words_half_knows_no_order(tokens: list[int], rng: random.Random) -> None:
    words = [[token] for token in tokens]
    mixed = words.copy()
    rng.shuffle(mixed)
    one, other = (_words(SHIPPED).vector(w, 512) for w in (words, mixed))
    np.testing.assert_array_equal(one, other)
    assert not one.any() or np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)


def test_rare_words_weigh_more_and_forms_of_one_word_are_one(texts: MiniSentenceEncoder) -> None:
    def words(text: str) -> np.ndarray:
        vector = texts.encode_passages([text])[0, CUT:]
        return vector / max(np.linalg.norm(vector), 1e-9)

    assert words("The castles?") @ words("castle") > 0.98
    assert words("the lighthouse of Zanzibar") @ words("Zanzibar") > 0.5
    assert words("the lighthouse of Zanzibar") @ words("the of") < 0.2
    # A name in several pieces is one unit beside its pieces: it finds itself, not another name with one of them.
    assert words("Gjirokastra town") @ words("Gjirokastra") > words("Gjirokastra town") @ words("Gjergj") + 0.3


def test_the_halves_are_mixed_as_the_config_says(texts: MiniSentenceEncoder) -> None:
    share = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))["words"]["sentence_share"]
    vectors = texts.encode_passages(TEXTS)
    np.testing.assert_allclose((vectors[:, :CUT] ** 2).sum(axis=1), share, atol=1e-5)
    only = texts.encode_passages(["?"])[0]  # says nothing: the sentence half is all
    assert not only[CUT:].any()
    assert np.linalg.norm(only) == pytest.approx(1.0, abs=1e-5)


def test_a_folder_without_a_word_table_has_the_sentence_alone(copied: Path, texts: MiniSentenceEncoder) -> None:
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    del config["words"]
    config["dim"] = CUT
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    plain = encoder(copied)
    assert plain.fingerprint != texts.fingerprint
    whole = texts.encode_passages(TEXTS)[:, :CUT]
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(plain.encode_passages(TEXTS), whole, atol=1e-6)


@pytest.mark.parametrize("words", [{"dim": 100, "sentence_share": 0.4}, {"dim": 512, "sentence_share": 0.0}])
def test_a_config_that_cannot_be_is_refused(copied: Path, words: dict[str, float]) -> None:
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    (copied / "config.json").write_text(json.dumps({**config, "words": words}), encoding="utf-8")
    with pytest.raises(BadModelFile, match="no words half"):
        encoder(copied)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=80))
def test_any_text_gives_a_unit_or_a_zero_vector(text: str) -> None:
    vector = encoder().encode_passages([text])[0]
    assert np.isfinite(vector).all()
    assert not vector.any() or np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", ["encoder.onnx", "tokenizer.json", WORDS])
def test_a_changed_byte_is_noticed(name: str, copied: Path) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(BadModelFile, match=name):
        encoder(copied).encode_passages(TEXTS)


def test_a_missing_file_is_named(copied: Path) -> None:
    (copied / "encoder.onnx").unlink()
    with pytest.raises(BadModelFile, match=r"cannot read .*encoder\.onnx"):
        encoder(copied).encode_passages(TEXTS)


def test_a_file_that_is_no_model_is_a_clear_error(copied: Path) -> None:
    import hashlib

    (copied / "encoder.onnx").write_bytes(b"not a model")
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    config["sha256"]["encoder.onnx"] = hashlib.sha256(b"not a model").hexdigest()
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BadModelFile, match=r"cannot run .*encoder\.onnx"):
        encoder(copied).encode_passages(TEXTS)


def test_it_is_small_enough_to_ship() -> None:
    config = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config["parameters"] <= 10_000_000
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 11_500_000


def test_a_profile_file_reaches_it(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text('image = "mini-image"\ntext = "mini-sentence"\n', encoding="utf-8")
    assert isinstance(registry.load_profile(Settings(profile=str(path))).text, MiniSentenceEncoder)


def test_torch_is_never_imported() -> None:
    code = (
        "import sys\n"
        "from rsrag.config import Settings\n"
        "from rsrag.models.registry import find, load\n"
        "model = load(find('mini-sentence'), Settings())\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "model.encode_passages(['lake'])\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr
