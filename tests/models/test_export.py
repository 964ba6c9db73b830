"""Exports: the files run without torch, give the model's vectors, and notice what was done to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rsrag
from rsrag.cli.models_check import check_profile
from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, ModelError, UsageError
from rsrag.models import cliptokens, export, registry, runtime, towers
from rsrag.models.base import ImageEncoder, ModelRow
from rsrag.models.mini import MiniImageEncoder

MINI = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "image"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing measured before reaches a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in files, one of them large, one damaged, and something else."""
    from PIL import Image

    made = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(runtime.drawn(64, 16)):
        Image.fromarray(picture).save(made / f"{number:02d}.png")
    Image.fromarray(runtime.drawn(600, 1)[0]).save(made / "large.jpg")
    (made / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (made / "notes.txt").write_text("no picture")
    return made


@pytest.fixture(scope="module")
def clip_row(tiny_clip: Path) -> ModelRow:
    pytest.importorskip("onnxscript")
    return ModelRow("tiny", "image", "open_clip", str(tiny_clip), licence="none")


@pytest.fixture(scope="module")
def exports(
    clip_row: ModelRow, folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch
) -> dict[str, export.Export]:
    """The tiny CLIP in float32 and int8."""
    monkeypatch_module.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    out = tmp_path_factory.mktemp("exports")
    return {to: export.export(clip_row, Settings(), to, out / to, folder) for to in ("onnx", "onnx-int8")}


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def loaded(made: export.Export, **settings: Any) -> Any:
    rows = registry.rows_of(Settings(profile=str(made.profile)))
    return registry.load(rows["image"], Settings(**settings))


def test_float32_gives_the_model_s_vectors_under_its_fingerprint(
    exports: dict[str, export.Export], clip_row: ModelRow, pictures: list[np.ndarray[Any, Any]]
) -> None:
    made = exports["onnx"]
    source, encoder = registry.load(clip_row, Settings(runtime="torch-f32")), loaded(made, runtime="ort")
    assert isinstance(encoder, ImageEncoder)
    assert encoder.fingerprint == source.fingerprint == made.fingerprint
    assert (encoder.dim, encoder.input_size) == (32, 32)
    np.testing.assert_allclose(encoder.encode_images(pictures), source.encode_images(pictures), atol=1e-5)
    words = ["A LAKE &amp; dunes", "x" * 400, "", "Überflutung 2021: the river's delta?"]
    np.testing.assert_allclose(encoder.encode_words(words), source.encode_words(words), atol=1e-5)
    assert encoder.encode_images([]).shape == encoder.encode_words([]).shape == (0, 32)
    assert (made.drawn, made.before) == (False, "torch-f32")
    assert made.cosine["min"] > 0.9999
    assert made.words["min"] > 0.9999
    assert made.ms_before > 0 < made.ms_after


def test_int8_is_a_model_of_its_own_whose_vectors_do_not_depend_on_the_batch(
    exports: dict[str, export.Export], pictures: list[np.ndarray[Any, Any]]
) -> None:
    made, exact = exports["onnx-int8"], loaded(exports["onnx"])
    encoder = loaded(made)
    assert encoder.fingerprint == made.fingerprint != exact.fingerprint
    assert encoder.fingerprint.startswith("exported-int8:")
    assert made.megabytes < exports["onnx"].megabytes
    together, alone = encoder.encode_images(pictures), [encoder.encode_images([p])[0] for p in pictures]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)
    assert not np.allclose(together, exact.encode_images(pictures), atol=1e-6)
    assert 0.9 < made.cosine["min"] <= made.cosine["p1"] <= made.cosine["mean"] < 1
    assert [path.name for path in sorted(made.directory.iterdir())] == [
        "config.json", "image.onnx", "profile.toml", "reference.safetensors", "text.onnx", "tokenizer.json",
    ]  # fmt: skip


def test_int8_is_what_has_weights_and_sums_cannot_saturate(exports: dict[str, export.Export]) -> None:
    """Seven bits of weight: two products with uint8 then fit into the 16 bits that AVX2 adds them in."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(exports["onnx-int8"].directory / "image.onnx")).graph
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    kept = {t.name for t in graph.initializer if t.name in weights and weights[t.name].dtype == np.int8}
    with_weights = moving = 0
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        given = [made_by.get(name) for name in node.input[:2]]
        quantised = [g is not None and g.op_type == "DequantizeLinear" for g in given]
        if given[1] is not None and quantised[1] and given[1].input[0] in kept:
            with_weights += 1
            assert quantised[0]
            assert np.abs(weights[given[1].input[0]].astype(int)).max() <= 64
        else:
            moving += 1
            assert not any(quantised)
        readers = [other.op_type for other in graph.node if node.output[0] in other.input]
        assert "QuantizeLinear" not in readers
    layers = 2
    assert moving == 2 * layers  # queries with keys, weights with values
    assert with_weights == 4 * layers + 1  # into and out of attention, two more, and the projection


def test_the_profile_passes_the_check_in_a_process_without_torch(exports: dict[str, export.Export]) -> None:
    code = (
        "import sys\nfor name in ('torch', 'open_clip', 'transformers', 'onnx'): sys.modules[name] = None\n"
        "from rsrag.config import Settings\nfrom rsrag.cli.models_check import check_profile\n"
        "print([(c.role, c.ok) for c in check_profile(Settings(profile=sys.argv[1]))])"
    )
    command = [sys.executable, "-c", code, str(exports["onnx-int8"].profile)]
    ran = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert ran.stdout.count("True") == 4, ran.stderr + ran.stdout


def test_another_machine_must_give_the_same_vectors(exports: dict[str, export.Export], tmp_path: Path) -> None:
    """Swapping two rows of what the exporting machine gave stands for a processor that computes something else."""
    from safetensors.numpy import load_file, save_file

    copy = copied(exports["onnx"].directory, tmp_path / "copy")
    kept = load_file(copy / "reference.safetensors")["features"]
    save_file({"features": np.ascontiguousarray(kept[::-1])}, copy / "reference.safetensors")
    config = json.loads((copy / "config.json").read_text())
    config["sha256"]["reference.safetensors"] = export.file_digest(copy / "reference.safetensors")
    (copy / "config.json").write_text(json.dumps(config))
    encoder = registry.load(ModelRow("x", "image", "exported", str(copy)), Settings())
    with pytest.raises(ModelError, match="not the vectors of the model"):
        encoder.encode_images([np.zeros((32, 32, 3), np.uint8)])


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx", "tokenizer.json", "reference.safetensors"])
def test_a_changed_byte_is_noticed(name: str, exports: dict[str, export.Export], tmp_path: Path) -> None:
    copy = copied(exports["onnx"].directory, tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    encoder = registry.load(ModelRow("x", "image", "exported", str(copy)), Settings())
    with pytest.raises(BadModelFile, match=name):
        encoder.encode_images([np.zeros((32, 32, 3), np.uint8)])
        encoder.encode_words(["x"])


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"dim": 3}')
    with pytest.raises(BadModelFile, match=r"config\.json lacks input_size"):
        registry.load(ModelRow("x", "image", "exported", str(tmp_path)), Settings())


def test_what_cannot_be_exported(folder: Path, tmp_path: Path) -> None:
    row = registry.find("mini-image")
    with pytest.raises(UsageError, match="unknown format 'tflite'"):
        export.export(row, Settings(), "tflite", tmp_path / "out")
    with pytest.raises(UsageError, match="cannot be exported"):
        export.export(registry.find("mini-text"), Settings(), "onnx", tmp_path / "out")
    with pytest.raises(UsageError, match="needs pictures"):
        export.export(row, Settings(), "onnx-int8", tmp_path / "out")
    with pytest.raises(UsageError, match="is not empty"):
        export.export(row, Settings(), "onnx", folder)
    with pytest.raises(UsageError, match="fewer than two pictures"):
        export.export(row, Settings(), "onnx", tmp_path / "out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_profile_names_folders_of_any_script(tmp_path: Path) -> None:
    source = str(tmp_path / "modèles 模型 🛰")
    table = tomllib.loads(export._profile(ModelRow("a🛰", "image", "exported", source)))
    assert (table["image"]["name"], table["image"]["source"]) == ("a🛰", source)


def test_the_mini_tower_as_it_is(tmp_path: Path) -> None:
    made = export.export(registry.find("mini-image"), Settings(), "onnx", tmp_path / "out")
    encoder = loaded(made)
    assert isinstance(encoder, MiniImageEncoder)
    source = registry.load(registry.find("mini-image"), Settings())
    assert encoder.fingerprint == source.fingerprint
    assert made.drawn
    assert made.cosine["min"] == pytest.approx(1, abs=1e-6)
    table = tomllib.loads(made.profile.read_text())
    assert table["image"]["backend"] == "mini_image"
    assert Path(table["image"]["source"]).is_absolute()
    assert all(row.ok for row in check_profile(Settings(profile=str(made.profile))))
    with pytest.raises(ConfigError, match="'torch-f32'"):
        loaded(made, runtime="torch-f32").encode_images([np.zeros((9, 9, 3), np.uint8)])


def test_the_mini_tower_in_int8(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    made = export.export(registry.find("mini-image"), Settings(), "onnx-int8", tmp_path / "out", folder)
    source, encoder = registry.load(registry.find("mini-image"), Settings()), loaded(made)
    assert encoder.fingerprint != source.fingerprint
    assert made.megabytes < 0.3 * 2 * (MINI / "encoder.onnx").stat().st_size / 1e6  # its weights lie there in float16
    assert made.words["min"] == pytest.approx(1, abs=1e-6)
    assert made.cosine["mean"] > 0.99
    assert made.cosine["min"] > 0.97


def test_openvino(clip_row: ModelRow, folder: Path, tmp_path: Path, pictures: list[np.ndarray[Any, Any]]) -> None:
    pytest.importorskip("openvino")
    for row in (clip_row, registry.find("mini-image")):
        made = export.export(row, Settings(), "openvino", tmp_path / row.name, folder)
        exact = "torch-f32" if row is clip_row else "ort"
        source, encoder = registry.load(row, Settings(runtime=exact)), loaded(made)
        assert encoder.fingerprint == source.fingerprint
        np.testing.assert_allclose(encoder.encode_images(pictures), source.encode_images(pictures), atol=2e-2)
        np.testing.assert_allclose(encoder.encode_words(["a lake"]), source.encode_words(["a lake"]), atol=1e-4)
        assert made.cosine["min"] > runtime.LEAST
    exact_openvino = registry.load(registry.find("mini-image"), Settings(runtime="openvino-f32"))
    plain = registry.load(registry.find("mini-image"), Settings())
    np.testing.assert_allclose(exact_openvino.encode_images(pictures), plain.encode_images(pictures), atol=1e-4)


def test_openvino_makes_a_graph_for_a_size_that_comes_again() -> None:
    pytest.importorskip("openvino")
    side = json.loads((MINI / "config.json").read_text(encoding="utf-8"))["input_size"]
    batch = np.random.default_rng(0).integers(0, 255, (8, side, side, 3), dtype=np.uint8)
    tower = towers.OpenVinoTower(MINI / "encoder.onnx", "f32", ("semantic", "instance"), of_planes=True)
    first, free = towers.run(tower, batch), tower._any_size
    assert tower._one_size is None
    again = towers.run(tower, batch)
    assert tower._one_size is not None and tower._one_size is not free
    np.testing.assert_allclose(again, first, atol=1e-5)
    np.testing.assert_allclose(towers.run(tower, batch[:3]), first[:3], atol=1e-5)  # others go on as before
    np.testing.assert_allclose(towers.run(tower, batch), first, atol=1e-5)


def test_openvino_tells_nobody_that_it_was_imported() -> None:
    pytest.importorskip("openvino")
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('a socket was opened')\n"
        "socket.socket = socket.create_connection = refuse\n"
        "from rsrag.models.towers import import_openvino\n"
        "import_openvino()\n"
        "print('openvino' in sys.modules, 'openvino_telemetry' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.split() == ["True", "False"], ran.stderr


def test_tokens_are_those_of_open_clip() -> None:
    pytest.importorskip("open_clip")
    import open_clip
    from tokenizers import Tokenizer

    simple = open_clip.SimpleTokenizer()
    made = Tokenizer.from_str(cliptokens.from_open_clip(simple))
    texts = [
        "a satellite photo of a lake.", "", "  two   spaces\tand\nlines ", "It's 12.5 km², isn't it?", "ÄÖÜ ñandú 東京",
        "B&amp;B &lt;here&gt;", "I'LL WE'VE", "e\u0301te", "0123456789 " * 30, "don’t “quote”",
        "!!!???...---", "naïve café",
    ]  # fmt: skip
    assert np.array_equal(cliptokens.encode(made, texts, 77), simple(texts).numpy())
    assert np.array_equal(cliptokens.encode(made, texts, 16), simple(texts, context_length=16).numpy())


def copied(source: Path, target: Path) -> Path:
    import shutil

    shutil.copytree(source, target)
    return target


def test_a_relative_folder_is_one_of_the_caller_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = export.export(registry.find("mini-image"), Settings(), "onnx", Path("out"))
    assert made.profile == tmp_path / "out" / "profile.toml"


@pytest.mark.parametrize(("key", "value"), [("dim", 128), ("dim", 500), ("semantic_dim", 900), ("alpha", 2.0)])
def test_figures_that_do_not_fit_the_graph_are_told(tmp_path: Path, key: str, value: float) -> None:
    changed = tmp_path / "mini"
    shutil.copytree(MINI, changed)
    config = json.loads((changed / "config.json").read_text(encoding="utf-8"))
    (changed / "config.json").write_text(json.dumps({**config, key: value}), encoding="utf-8")
    row = ModelRow("mini-image", "image", "mini_image", str(changed))
    with pytest.raises(BadModelFile, match=r"config\.json"):
        export.export(row, Settings(), "onnx", tmp_path / "out")


def test_an_export_whose_size_was_altered_is_told(exports: dict[str, export.Export], tmp_path: Path) -> None:
    changed = tmp_path / "export"
    shutil.copytree(exports["onnx"].directory, changed)
    config = json.loads((changed / "config.json").read_text(encoding="utf-8"))
    (changed / "config.json").write_text(json.dumps({**config, "dim": 16}), encoding="utf-8")
    encoder = registry.load(ModelRow("tiny", "image", "exported", str(changed)), Settings(runtime="ort"))
    with pytest.raises(BadModelFile, match="dim is 16"):
        encoder.encode_images(list(runtime.drawn(64, 2)))  # type: ignore[attr-defined]
