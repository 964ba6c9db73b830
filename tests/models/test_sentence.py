"""sentence-transformers encoders and cross-encoders on tiny checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import checkpoints
import numpy as np
import pytest

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ModelError
from rsrag.models import devices
from rsrag.models.base import ModelRow, Reranker, TextEncoder
from rsrag.models.sentence import CrossEncoderReranker, SentenceEncoder

TEXTS = ["a lake in the desert", "", "an island", "  ", "salt dunes of the river"]


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact numbers on every processor."""
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)


def encoder(source: Path, dim: int = 0, **options: str) -> SentenceEncoder:
    row = ModelRow("tiny", "text", "sentence_transformers", str(source), dim=dim, options=options)
    return SentenceEncoder(row, Settings(device="cpu"))


def reranker(source: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(ModelRow("tiny", "reranker", "cross_encoder", str(source)), Settings(device="cpu"))


def test_vectors_are_means_of_the_network_s_tokens(sentence_dir: Path, no_socket: None) -> None:
    import torch
    import transformers

    tiny = encoder(sentence_dir, dim=32)
    assert isinstance(tiny, TextEncoder)
    found = tiny.encode_passages(TEXTS)
    assert found.shape == (5, 32)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 0, 1, 0, 1], atol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(sentence_dir)
    network = transformers.AutoModel.from_pretrained(sentence_dir)
    with torch.no_grad():
        states = network(**tokenizer([TEXTS[0]], return_tensors="pt")).last_hidden_state.mean(dim=1)
    expected = torch.nn.functional.normalize(states, dim=-1).numpy()[0]
    assert np.allclose(found[0], expected, atol=1e-5)


def test_prompts_stand_before_questions_and_passages(sentence_dir: Path) -> None:
    plain = encoder(sentence_dir)
    assert plain.dim == 32
    asking = encoder(sentence_dir, question_prompt="the river ", passage_prompt="the desert ")
    assert np.allclose(asking.encode_questions(["lake"]), plain.encode_passages(["the river lake"]), atol=1e-5)
    assert np.allclose(asking.encode_passages(["lake"]), plain.encode_passages(["the desert lake"]), atol=1e-5)
    assert asking.fingerprint != plain.fingerprint
    assert encoder(sentence_dir, question_prompt="x ").fingerprint == plain.fingerprint


def test_nothing_in_gives_nothing_out(sentence_dir: Path) -> None:
    assert encoder(sentence_dir).encode_passages([]).shape == (0, 32)
    assert not encoder(sentence_dir).encode_questions(["", " "]).any()


def test_bfloat16_gives_nearly_the_same_vectors(sentence_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = encoder(sentence_dir).encode_passages(["a lake in the desert"])
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    rough = encoder(sentence_dir).encode_passages(["a lake in the desert"])
    assert not np.array_equal(exact, rough)
    assert np.sum(exact * rough) > 0.999


def test_fingerprint_follows_weights_and_pooling(sentence_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sentence_dir, tmp_path / "copy"))
    assert encoder(copy).fingerprint == encoder(sentence_dir).fingerprint
    pooling = copy / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace('mean_tokens": true', 'mean_tokens": false'))
    assert encoder(copy).fingerprint != encoder(sentence_dir).fingerprint


def test_wrong_dim_is_refused(sentence_dir: Path) -> None:
    with pytest.raises(BadModelFile, match="gives 32 dimensions, not 384"):
        encoder(sentence_dir, dim=384).encode_passages(["lake"])


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("evil.Transformer", ""),
        ("sentence_transformers.models.WordEmbeddings", ""),
        ("sentence_transformers.models.Transformer", "../elsewhere"),
    ],
)
def test_directories_that_name_code_or_leave_themselves_are_refused(
    kind: str, path: str, sentence_dir: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(sentence_dir, tmp_path / "copy"))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Transformer: pass\n")
    (copy / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": path, "type": kind}]))
    with pytest.raises(BadModelFile, match="names"):
        encoder(copy)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused(sentence_dir: Path, cross_dir: Path, tmp_path: Path) -> None:
    for number, source in enumerate((sentence_dir, cross_dir)):
        copy = Path(shutil.copytree(source, tmp_path / str(number)))
        (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
        with pytest.raises(BadModelFile, match=r"no \.safetensors file"):
            (encoder if source == sentence_dir else reranker)(copy)


def test_tensors_that_are_missing_are_not_made_up(sentence_dir: Path, cross_dir: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(sentence_dir, tmp_path / "copy"))
    tensors = load_file(copy / "model.safetensors")
    del tensors["pooler.dense.weight"]  # not used: nothing is wrong yet
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert np.allclose(encoder(copy).encode_passages(["lake"]), encoder(sentence_dir).encode_passages(["lake"]))
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModelFile, match=r"lacks 1 tensors: encoder\.layer\.1\.output\.dense\.bias"):
        encoder(copy, dim=32).encode_passages(["lake"])
    with pytest.raises(BadModelFile, match="a text encoder is no re-ranker"):
        reranker(sentence_dir).score("q", ["p"])


def test_a_damaged_checkpoint_is_a_model_error(sentence_dir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sentence_dir, tmp_path / "copy"))
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:4000])
    with pytest.raises(BadModelFile, match="cannot load"):
        encoder(copy, dim=32).encode_passages(["lake"])


def test_scores_are_probabilities_of_the_network_s_output(cross_dir: Path, no_socket: None) -> None:
    import torch
    import transformers

    tiny = reranker(cross_dir)
    assert isinstance(tiny, Reranker)
    passages = ["the lake", "a desert of salt", ""]
    found = tiny.score("is a lake ?", passages)
    assert found.shape == (3,)
    assert found.dtype == np.float32
    tokenizer = transformers.AutoTokenizer.from_pretrained(cross_dir)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(cross_dir)
    with torch.no_grad():
        logits = network(**tokenizer(["is a lake ?"] * 3, passages, padding=True, return_tensors="pt")).logits
    assert np.allclose(found, torch.sigmoid(logits[:, 0]).numpy(), atol=1e-5)
    assert tiny.score("is a lake ?", []).shape == (0,)


def test_several_outputs_are_no_reranker(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    import checkpoints

    with pytest.raises(BadModelFile, match="has 3 outputs"):
        reranker(checkpoints.cross_encoder(tmp_path / "three", labels=3)).score("q", ["p"])


def test_damaged_weights_give_no_scores(cross_dir: Path, tmp_path: Path) -> None:
    broken = checkpoints.undefined(cross_dir, tmp_path / "broken")
    with pytest.raises(ModelError, match="weights may be damaged"):
        reranker(broken).score("lake", ["an island"])


def test_a_vocabulary_is_not_made_up(sentence_dir: Path, cross_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match="holds no vocabulary"):
        encoder(checkpoints.without_vocabulary(sentence_dir, tmp_path / "text"), dim=32).encode_passages(["lake"])
    with pytest.raises(BadModelFile, match="holds no vocabulary"):
        reranker(checkpoints.without_vocabulary(cross_dir, tmp_path / "cross")).score("lake", ["an island"])
