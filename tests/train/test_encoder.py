"""The loop in miniature: it learns, and a run that was killed ends as one that was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("model2vec")

from rsrag.errors import BadModelFile, ConfigError  # noqa: E402
from rsrag.train import checkpoint, export_encoder, train_encoder  # noqa: E402
from rsrag.train.config import parse_config  # noqa: E402
from rsrag.train.export import load_run, write_manifest  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def rows(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_loss_goes_down(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 10, "lr": 2e-3}
    result = train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data)
    found = rows(tmp_path / "run")
    assert result.steps == found[-1]["step"] >= 20
    assert found[-1]["text"] < 0.85 * found[0]["text"]
    assert found[-1]["instance"] < 0.9 * found[0]["instance"]
    assert found[-1]["top1/scenes"] > 0.25


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from rsrag.train.curves import draw_curves

    table = [{"epoch": n, "text": 3 / n, "instance": 4 / n, "top1/toy": n / 4} for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    assert draw_curves(tmp_path).read_bytes().startswith(b"\x89PNG")


def test_killed_and_resumed_equals_uninterrupted(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 3}
    config = parse_config(toy_table)
    train_encoder(config, run_dir=tmp_path / "whole", data_dir=toy_data)

    class Killed(Exception):
        pass

    def kill(row: dict[str, Any]) -> None:
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            train_encoder(config, run_dir=tmp_path / "parts", data_dir=toy_data, progress=kill)
    train_encoder(config, run_dir=tmp_path / "parts", data_dir=toy_data)
    whole, parts = checkpoint.load(tmp_path / "whole"), checkpoint.load(tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    assert whole["step"] == parts["step"]
    for part in ("network", "average"):
        for key, value in whole[part].items():
            assert torch.equal(value, parts[part][key]), key
    assert [row["epoch"] for row in rows(tmp_path / "parts")] == [1, 2, 3]
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1]


def test_a_folder_of_other_settings_is_refused(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path, data_dir=toy_data)
    toy_table["seed"] = 4
    with pytest.raises(ConfigError, match="other settings"):
        train_encoder(parse_config(toy_table), run_dir=tmp_path, data_dir=toy_data)


def test_export_equals_torch(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from rsrag.train.evaluate import Exported

    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data)
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
    train_encoder(parse_config(toy_table), run_dir=tmp_path / "run", data_dir=toy_data)
    export_encoder(tmp_path / "run", tmp_path / "out")
    pictures = list(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    quantise(tmp_path / "out" / "encoder.onnx", tmp_path / "int8.onnx", pictures[:32], 32)
    found = fidelity(tmp_path / "out", tmp_path / "int8.onnx", pictures[32:])
    assert found["semantic_mean"] > 0.9
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * (tmp_path / "out" / "encoder.onnx").stat().st_size


def test_the_manifest_is_compact_and_stable(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    import gzip

    toy_table["optim"] |= {"epochs": 1}
    train_encoder(parse_config(toy_table), run_dir=tmp_path, data_dir=toy_data)
    count = write_manifest(tmp_path, tmp_path / "m.txt.gz")
    first = (tmp_path / "m.txt.gz").read_bytes()
    assert write_manifest(tmp_path, tmp_path / "m.txt.gz") == count == 50
    assert (tmp_path / "m.txt.gz").read_bytes() == first
    assert len(gzip.decompress(first).splitlines()) == count + 1


def test_a_damaged_checkpoint_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / checkpoint.NAME).write_bytes(b"junk")
    with pytest.raises(BadModelFile):
        checkpoint.load(tmp_path)
