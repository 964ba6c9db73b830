"""The distillation of the sentence encoder in miniature: the teacher is copied, the loss falls, a run goes on."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
WORDS, WIDTH = 60, 48


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        module = importlib.import_module("distill_sentence")
    torch.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def bert() -> Any:
    """A tiny BERT with random weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return transformers.BertModel(config).eval()


def some_rows(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return sorted((rng.integers(5, WORDS, rng.integers(3, 20)).astype(np.uint16) for _ in range(count)), key=len)


class Encoded:
    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids


class Cut:
    """A tokenizer whose texts are the numbers of prepared rows."""

    def __init__(self, rows: list[np.ndarray]) -> None:
        self._rows = rows

    def encode_batch(self, texts: list[str]) -> list[Encoded]:
        return [Encoded(self._rows[int(text)]) for text in texts]


@pytest.fixture(scope="module")
def lessons(script: ModuleType, bert: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of lessons by the tiny teacher."""
    folders = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("lessons")
        rows = some_rows(60, seed)
        tokens = script.write_states(
            script.full_teacher(bert.state_dict()), Cut(rows), [str(i) for i in range(60)], folder
        )
        assert tokens == sum(map(len, rows))
        (folder / "texts.json").write_text(json.dumps({"distinct": 60}), encoding="utf-8")
        folders.append(folder)
    return folders


def shape(script: ModuleType, layers: tuple[int, ...] = (0, 2), rank: int = 16) -> Any:
    return script.Shape(layers=layers, rank=rank, width=WIDTH, inner=64, words=WORDS, positions=32)


def test_with_all_layers_and_full_rank_it_is_the_teacher(script: ModuleType, bert: Any) -> None:
    ids, mask = script.padded(some_rows(7))
    with torch.inference_mode():
        ours = script.full_teacher(bert.state_dict()).states(ids, mask)
        theirs = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], atol=1e-4, rtol=1e-4)


def test_a_lower_rank_keeps_frequent_words_best(script: ModuleType, bert: Any) -> None:
    counts = np.zeros(WORDS, dtype=np.int64)
    counts[:20] = 10_000
    table = bert.state_dict()["embeddings.word_embeddings.weight"]
    student = script.from_teacher(bert.state_dict(), shape(script), counts)
    made = student.table.weight @ student.expand.weight.T
    lost = (made - table).norm(dim=1) / table.norm(dim=1)
    assert lost[1:20].mean() < 0.5 * lost[20:].mean()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 128), min_size=1, max_size=200), st.integers(128, 2048), st.integers(0, 9))
def test_every_text_is_in_one_batch_of_bounded_size(lengths: list[int], tokens: int, seed: int) -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        script = importlib.import_module("distill_sentence")
    finally:
        sys.path.remove(str(SCRIPTS))
    array = np.array(lengths, dtype=np.int64)
    made = script.batches(array, tokens, np.random.default_rng(seed))
    assert sorted(np.concatenate(made).tolist()) == list(range(len(lengths)))
    assert all(len(batch) * array[batch].max() <= tokens for batch in made)


def test_states_come_back_beside_their_tokens(script: ModuleType, bert: Any, lessons: list[Path]) -> None:
    read = script.Lessons(lessons, WIDTH)
    assert len(read.lengths) == 120
    ids, mask, target = read.batch(np.array([3, 100, 119]))
    with torch.inference_mode():
        states = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    kept = mask.bool()
    assert torch.nn.functional.cosine_similarity(states[kept], target[kept]).min() > 0.99
    assert not target[~kept].any()


def test_the_loss_falls(script: ModuleType, bert: Any, lessons: list[Path], tmp_path: Path) -> None:
    plan = script.Plan(steps=100, tokens=256, rate=2e-3, warm=5)
    facts = script.train(bert.state_dict(), lessons, tmp_path, shape(script), plan)
    first, last = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    assert last["tokens"] < 0.7 * first["tokens"]
    assert last["vectors"] < 0.7 * first["vectors"]
    assert facts["parameters"] == sum(p.numel() for p in script.Student(shape(script)).parameters())


def test_a_stopped_run_goes_on_to_the_same_weights(
    script: ModuleType, bert: Any, lessons: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = script.Plan(steps=30, tokens=256, rate=2e-3, warm=3, every=5)

    def run(folder: str) -> bytes:
        script.train(bert.state_dict(), lessons, tmp_path / folder, shape(script), plan)
        return (tmp_path / folder / "student.safetensors").read_bytes()

    whole = run("whole")
    calls = 0
    right = script.loss_of

    def stops(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 13:
            raise KeyboardInterrupt
        return right(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(script, "loss_of", stops)
        with pytest.raises(KeyboardInterrupt):
            run("stopped")
    assert run("stopped") == whole


def test_the_exported_model_gives_the_students_vectors(script: ModuleType, bert: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    import onnxruntime

    student = script.from_teacher(bert.state_dict(), shape(script), None).eval()
    script.write_onnx(student, tmp_path / "full.onnx")
    script.quantise(tmp_path / "full.onnx", tmp_path / "small.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"full.onnx", "small.onnx"}
    for name, least in (("full.onnx", 0.99999), ("small.onnx", 0.97)):
        session = onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
        for row in some_rows(5, seed=4):
            ids = row[None].astype(np.int64)
            (found,) = session.run(["vectors"], {"ids": ids})
            with torch.inference_mode():
                wanted = student(torch.from_numpy(ids), torch.ones_like(torch.from_numpy(ids))).numpy()
            assert float((found * wanted).sum()) > least
