"""The loop in miniature, with the mini tower: it learns, and leaves what it should."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("model2vec")

from rsrag.errors import BadModelFile, ConfigError, ModelError  # noqa: E402
from rsrag.train import checkpoint, choose, export_encoder, train_encoder  # noqa: E402
from rsrag.train.config import parse_config  # noqa: E402
from rsrag.train.data import load  # noqa: E402
from rsrag.train.export import load_run, write_manifest  # noqa: E402
from rsrag.train.parallel import Parallel  # noqa: E402
from rsrag.train.probe import dated_views  # noqa: E402
from rsrag.train.towers import build_tower  # noqa: E402
from rsrag.train.trainer import Trainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def rows(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_loss_goes_down(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 10, "lr": 2e-3}
    result = train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    found = rows(tmp_path / "run")
    assert result.steps == found[-1]["step"] >= 20
    assert found[-1]["text"] < 0.85 * found[0]["text"]
    assert found[-1]["instance"] < 0.9 * found[0]["instance"]
    assert found[-1]["top1/scenes"] > 0.25


def test_the_folder_of_a_finished_run(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"config.json", "manifest.jsonl", "metrics.jsonl", "checkpoint.pt", "summary.json"}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    counts = summary["parameters"]
    assert (
        counts["trainable"] == counts["parameters"] == sum(counts[f"trainable_{s}"] for s in ("image", "text", "loss"))
    )
    assert (summary["method"], summary["start"], summary["profile"]) == ("full", "random", None)
    assert summary["metrics"] == rows(tmp_path / "run")[-1]


def test_classes_are_learned_by_their_prompts(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 6, "class_weight": 1.0, "wild": 0.3}
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    found = rows(tmp_path / "run")
    assert found[-1]["class"] < 0.9 * found[0]["class"]


def test_a_run_begins_from_another_one(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    toy_table["model"] |= {"pretrained": str(tmp_path / "run")}
    _, before = load_run(tmp_path / "run")
    begun = build_tower(parse_config(toy_table))
    for key, value in before.state_dict().items():
        assert torch.equal(value, begun.state_dict()[key]), key
    toy_table["model"] |= {"text_hidden": 8}
    with pytest.raises(ConfigError, match="do not fit"):
        build_tower(parse_config(toy_table))


def test_a_step_without_finite_gradient_moves_nothing(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config(toy_table)
    trainer = Trainer(config, load(config.data, toy_data), Parallel())
    healthy = trainer.objective.losses

    def spoiled(*arguments: Any) -> dict[str, torch.Tensor]:
        return {name: loss * float("nan") for name, loss in healthy(*arguments).items()}

    monkeypatch.setattr(trainer.objective, "losses", spoiled)
    before = {name: p.detach().clone() for name, p in trainer.tower.named_parameters()}
    line = trainer.run_epoch(lambda: None)
    assert line["skipped"] == trainer.per_epoch
    assert all(torch.equal(p, before[name]) for name, p in trainer.tower.named_parameters())
    with pytest.raises(ModelError, match="diverged"):
        for _ in range(10):
            trainer.run_epoch(lambda: None)


def test_steps_left_out_do_not_lower_the_reported_losses(
    toy_data: Path, toy_table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_table["optim"] |= {"batch": 8}
    config = parse_config(toy_table)
    trainer = Trainer(config, load(config.data, toy_data), Parallel())
    steps = trainer.per_epoch
    losses = iter(range(1, steps + 1))
    monkeypatch.setattr("rsrag.train.trainer.epoch_batches", lambda *_, start, **__: iter(range(start, steps)))
    monkeypatch.setattr(Trainer, "_gradient", lambda *_: {"loss": torch.tensor(float(next(losses)))})
    monkeypatch.setattr(Trainer, "_move", lambda self: self.step != 1)
    saved: list[dict[str, Any]] = []
    line = trainer.run_epoch(lambda: saved.append(trainer.state()))
    expected = (sum(range(1, steps + 1)) - 2) / (steps - 1)
    assert line["loss"] == pytest.approx(expected)
    trainer.restore(saved[1])
    losses = iter(range(3, steps + 1))
    assert trainer.run_epoch(lambda: None)["loss"] == pytest.approx(expected)


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from rsrag.train.curves import draw_curves

    table = [{"epoch": n, "text": 3 / n, "instance": 4 / n, "top1/toy": n / 4} for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    assert draw_curves(tmp_path).read_bytes().startswith(b"\x89PNG")


def test_a_folder_of_other_settings_is_refused(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path, data_dir=toy_data, export=False)
    toy_table["seed"] = 4
    with pytest.raises(ConfigError, match="other settings"):
        train_encoder(parse_config(toy_table), run_dir=tmp_path, data_dir=toy_data, export=False)


def test_export_equals_torch(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from rsrag.train.evaluate import Exported

    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    table = export_encoder(tmp_path / "run", tmp_path / "out", data_dir=toy_data, sizes=(32, 48))
    assert table["input_size"] in (32, 48)
    assert table["dim"] == 256 + 16
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json",
        "encoder.onnx",
        "text_head.safetensors",
    ]
    assert str(tmp_path).encode() not in (tmp_path / "out" / "encoder.onnx").read_bytes()
    exported = Exported(tmp_path / "out")
    _, network = load_run(tmp_path / "run")
    size = table["input_size"]
    for count in (1, 3):
        pictures = list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            expected = network.image(pixels)
        for part, other in zip(exported.images(pictures), expected, strict=True):
            assert np.abs(part - other.numpy()).max() < 1e-4
        assert np.allclose(np.linalg.norm(exported.combined(pictures), axis=1), 1, atol=1e-5)
    texts = ["a harbour with boats", "forest"]
    with torch.inference_mode():
        words = network.text(torch.from_numpy(exported.frozen(texts))).numpy()
    assert np.abs(exported.words(texts) - words).max() < 1e-5


def test_an_int8_copy_stays_close(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from rsrag.train.quantise import fidelity, quantise

    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    export_encoder(tmp_path / "run", tmp_path / "out")
    pictures = list(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    quantise(tmp_path / "out" / "encoder.onnx", tmp_path / "int8.onnx", pictures[:32], 32)
    found = fidelity(tmp_path / "out", tmp_path / "int8.onnx", pictures[32:])
    assert found["semantic_mean"] > 0.9
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * (tmp_path / "out" / "encoder.onnx").stat().st_size


def test_the_manifest_is_compact_and_stable(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    import gzip

    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path, data_dir=toy_data, export=False)
    count = write_manifest(tmp_path, tmp_path / "m.txt.gz")
    first = (tmp_path / "m.txt.gz").read_bytes()
    assert write_manifest(tmp_path, tmp_path / "m.txt.gz") == count == 50
    assert (tmp_path / "m.txt.gz").read_bytes() == first
    assert len(gzip.decompress(first).splitlines()) == count + 1


def test_a_damaged_checkpoint_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / checkpoint.NAME).write_bytes(b"junk")
    with pytest.raises(BadModelFile):
        checkpoint.load(tmp_path)


def test_a_run_without_anything_to_learn_from_is_refused(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path
) -> None:
    mosaic = toy_table["data"].pop("mosaic")
    for data in ({"sources": []}, {"holdout": 0.9999}):
        table = {**toy_table, "data": {**toy_table["data"], **data}}
        with pytest.raises(ConfigError, match="nothing to learn from"):
            train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    toy_table["data"] |= {"mosaic": {**mosaic, "crops": 16}, "sources": []}
    toy_table["optim"]["epochs"] = 1
    result = train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    assert result.metrics["text"] == 0 < result.metrics["instance"]


def test_size_and_mixture_are_chosen_without_classes(
    toy_data: Path, toy_table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "dated_views", lambda size: dated_views(size, places=1))
    toy_table["data"] |= {"sources": [{"path": "told", "kind": "captions", "label": "none"}], "holdout": 0.5}
    config = parse_config(toy_table)
    tower = build_tower(config).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = choose.choose(config, tower, toy_data, [32])
    assert found["size"] == 32 and all(figures["classes"] == 0 for figures in found["alphas"].values())
    toy_table["data"]["holdout"] = 0.0
    with pytest.raises(ConfigError, match="held out"):
        choose.choose(parse_config(toy_table), tower, toy_data, [32])
