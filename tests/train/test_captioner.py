"""A caption decoder trained in seconds: its graphs equal the network, and damage is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rsrag.errors import BadModelFile  # noqa: E402
from rsrag.models.captioner import SPECIAL, START, Captioner  # noqa: E402
from rsrag.train.captioner import Told, save, train, vocabulary  # noqa: E402


@pytest.fixture(scope="module")
def told() -> Told:
    """Forty pictures of two kinds, told apart by their vectors."""
    rng = np.random.default_rng(0)
    kinds = np.arange(40) % 2
    vectors = rng.normal(0, 0.1, (1, 40, 12)) + kinds[None, :, None] * 2 - 1
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    captions = [[["a", "blue", "sea"]] if kind else [["a", "green", "forest", "here"]] for kind in kinds]
    return Told(vectors.astype(np.float32), np.zeros((40, 6), np.float32), captions, np.arange(40) % 10 == 9)


@pytest.fixture(scope="module")
def shipped(told: Told, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Captioner, list[float]]:
    net, words, losses = train(told, epochs=40, width=24, batch=8)
    folder = tmp_path_factory.mktemp("caption")
    save(net, words, folder, {"encoder": "none"})
    return net, Captioner(folder), losses


def test_it_learns_and_says_it(told: Told, shipped: tuple[object, Captioner, list[float]]) -> None:
    _, captioner, losses = shipped
    assert losses[-1] < losses[0] / 2
    assert captioner.beam(told.vectors[0, 1])[0].words == ("a", "blue", "sea")
    assert captioner.beam(told.vectors[0, 2], told.told[2])[0].words == ("a", "green", "forest", "here")
    drawn = captioner.samples(told.vectors[0, 1], count=4, seed=3)
    assert drawn == captioner.samples(told.vectors[0, 1], count=4, seed=3) and len(drawn) <= 4


def test_the_graphs_equal_the_network(told: Told, shipped: tuple[object, Captioner, list[float]]) -> None:
    net, captioner, _ = shipped
    net.eval()
    state, soft = captioner._begin(told.vectors[0, 0], None)
    odds, _ = captioner._step([START], soft, state)
    with torch.no_grad():
        begun, mean = net.start(torch.from_numpy(told.vectors[0, :1]), torch.zeros(1, 6))
        logits, _ = net.step(torch.tensor([[START]]), mean, begun)
    expected = torch.log_softmax(logits[0, 0], -1).numpy()
    assert np.allclose(odds[0, SPECIAL:], expected[SPECIAL:], atol=1e-4)


def test_the_first_graph_takes_any_number_of_pictures(
    shipped: tuple[object, Captioner, list[float]], told: Told, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    save(shipped[0], ["a", "blue", "green", "sea", "forest", "here"], tmp_path, {})
    graph = onnxruntime.InferenceSession(str(tmp_path / "start.onnx"), providers=["CPUExecutionProvider"])
    pictures = told.vectors[0, :5]
    many = graph.run(["soft"], {"picture": pictures, "told": told.told[:5]})[0]
    one = [graph.run(["soft"], {"picture": p[None], "told": told.told[:1]})[0][0] for p in pictures]
    assert many.shape[0] == 5 and np.allclose(many, one, atol=1e-5)


def test_equal_seeds_train_equal_networks(told: Told) -> None:
    first, second = (train(told, epochs=2, width=16, batch=8, seed=5)[2] for _ in range(2))
    assert first == second


def test_damage_is_noticed(shipped: tuple[object, Captioner, list[float]], tmp_path: Path) -> None:
    _, captioner, _ = shipped
    for file in captioner._directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "words.json").write_text(json.dumps(["sea"]), encoding="utf-8")
    with pytest.raises(BadModelFile, match="not the file"):
        Captioner(tmp_path)
    with pytest.raises(BadModelFile, match="no caption decoder"):
        Captioner(tmp_path / "nowhere")


def test_rare_words_are_left_out() -> None:
    assert vocabulary([[["a", "sea"]], [["a", "a", "boat"]]], least=2) == ["a"]
