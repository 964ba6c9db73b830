"""A layer that is read in halves becomes two layers, and no vector changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from rsrag.config import Settings  # noqa: E402
from rsrag.errors import BadModelFile  # noqa: E402
from rsrag.models.base import ModelRow  # noqa: E402
from rsrag.models.dense import SHIPPED, DenseEncoder, shipped_cells  # noqa: E402
from rsrag.models.mini import MiniImageEncoder  # noqa: E402
from rsrag.models.quantise import weights  # noqa: E402
from rsrag.train import dense, export_encoder, train_encoder  # noqa: E402
from rsrag.train.config import ModelConfig, parse_config  # noqa: E402
from rsrag.train.halves import main, part, rewrite  # noqa: E402
from rsrag.train.join import join  # noqa: E402
from rsrag.train.towers.mini import MiniTower  # noqa: E402

ARCHITECTURE = "cs3darknet_s"  # the shipped one; the toy's has no halves
RNG = np.random.default_rng(0)
PIXELS = RNG.random((3, 3, 32, 32), dtype=np.float32)


def vectors(folder: Path) -> list[Any]:
    session = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), providers=["CPUExecutionProvider"])
    return session.run(["semantic", "instance"], {"pixels": PIXELS})


def kinds(folder: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(folder / "encoder.onnx")).graph.node]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("halves") / "export"


@pytest.fixture
def tower(exported: Path, toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> Path:
    """An export of its own for every test."""
    if not exported.is_dir():
        table = {**toy_table, "model": {**toy_table["model"], "architecture": ARCHITECTURE}}
        run = train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
        export_encoder(run.run_dir, exported, size=32)
    return Path(shutil.copytree(exported, tmp_path / "tower"))


def test_an_export_gives_the_same_vectors_under_the_same_name(tower: Path) -> None:
    join(tower, tower, tower, size=32, share=0.5)  # weights in float16, as shipped, so that storing loses nothing
    table, wanted, were = json.loads((tower / "config.json").read_text()), vectors(tower), kinds(tower)
    cuts = were.count("Split") + were.count("Slice") // 2
    assert cuts == 8 and rewrite(tower) == cuts
    now = kinds(tower)
    assert now.count("Split") == now.count("Slice") == 0 and now.count("Conv") == were.count("Conv") + cuts
    for one, other in zip(vectors(tower), wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    after = json.loads((tower / "config.json").read_text())
    before = table["sha256"]["encoder.onnx"]
    assert after["parted_from"] == before and after["sha256"]["encoder.onnx"] != before
    row = ModelRow("mini-image", "image", "mini_image", str(tower), dim=table["dim"])
    assert MiniImageEncoder(row, Settings()).fingerprint == f"mini-image:{before[:16]}:a0.5"
    assert rewrite(tower) == 0  # nothing is left to do, and nothing is written
    assert json.loads((tower / "config.json").read_text()) == after


def test_a_parted_tower_is_thawed_joined_and_made_dense(
    tower: Path, toy_table: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tower, tmp_path / "whole")
    assert main([str(tower)]) == 0 and "4 convolutions became two" in capsys.readouterr().out
    with torch.no_grad():
        for folder in (tmp_path / "whole", tower):
            network = MiniTower(
                ModelConfig(**{**toy_table["model"], "architecture": ARCHITECTURE, "pretrained": str(folder)})
            ).eval()
            made = network.image_vectors(torch.from_numpy(PIXELS))
            assert all(np.allclose(a.numpy(), b, atol=1e-3) for a, b in zip(made, vectors(tower), strict=True))
    both = join(tower, tower, tmp_path / "both", size=32, share=1.0)
    assert "parted_from" not in both  # its vectors are others
    assert np.allclose(vectors(tmp_path / "both")[1], vectors(tower)[1], atol=1e-4)
    dense.make(tower / "encoder.onnx", tmp_path / "maps")
    dense.make(tmp_path / "whole" / "encoder.onnx", tmp_path / "whole_maps")
    picture = RNG.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    maps, wanted = (DenseEncoder(tmp_path / name).maps(picture) for name in ("maps", "whole_maps"))
    assert all(np.allclose(maps[name], wanted[name], atol=2e-2) for name in wanted)


def test_feature_maps_keep_their_name(tower: Path, tmp_path: Path) -> None:
    dense.make(tower / "encoder.onnx", tmp_path / "maps")
    before = DenseEncoder(tmp_path / "maps")
    picture = RNG.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    wanted = before.maps(picture)
    assert rewrite(tmp_path / "maps") == 4
    after = DenseEncoder(tmp_path / "maps")
    assert after.fingerprint == before.fingerprint
    for name, value in after.maps(picture).items():
        np.testing.assert_array_equal(value, wanted[name])


def test_the_shipped_graphs_are_parted() -> None:
    for folder in (SHIPPED, SHIPPED.parent / "image", SHIPPED.parent / "cells"):
        assert not {"Split", "Slice"} & set(kinds(folder))
    assert shipped_cells().fingerprint == "mini-cells:c56b7cc8dccc8cee"


def graph(cuts: list[tuple[int, int]], *, axis: int = 1, extra: bool = False) -> Any:
    """A convolution with activation, its channels cut apart."""
    kernel, bias = RNG.random((6, 3, 1, 1), dtype=np.float32), RNG.random(6, dtype=np.float32)
    tensors = [numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(bias, "b")]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["g"]),
        helper.make_node("Mul", ["c", "g"], ["a"]),
    ]
    outputs = []
    for number, (start, end) in enumerate(cuts):
        where = {f"start{number}": start, f"end{number}": end, f"axis{number}": axis}
        tensors += [numpy_helper.from_array(np.array([value]), name) for name, value in where.items()]
        nodes.append(helper.make_node("Slice", ["a", *where], [f"o{number}"]))
        outputs.append(f"o{number}")
    if extra:
        nodes.append(helper.make_node("Relu", ["a"], ["whole"]))
        outputs.append("whole")
    return helper.make_graph(
        nodes,
        "cut",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list("nchw")) for name in outputs],
        tensors,
    )


@pytest.mark.parametrize(
    ("cuts", "options", "made"),
    [
        ([(0, 3), (3, 6)], {}, 1),
        ([(3, 2**40), (0, 3)], {}, 1),
        ([(0, 2), (2, 6)], {}, 0),
        ([(0, 3), (2, 6)], {}, 0),
        ([(0, 3), (3, 5)], {}, 0),
        ([(0, 2), (2, 4), (4, 6)], {}, 0),
        ([(0, 3), (3, 6)], {"axis": 2}, 0),
        ([(0, 3), (3, 6)], {"extra": True}, 0),
    ],
)
def test_only_halves_of_channels_that_nothing_else_reads(
    cuts: list[tuple[int, int]], options: dict[str, Any], made: int
) -> None:
    pixels = {"x": RNG.random((1, 3, 6, 6), dtype=np.float32)}
    model = helper.make_model(graph(cuts, **options), opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    def run() -> list[Any]:
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, pixels)

    wanted, whole = run(), weights(model.graph)
    assert part(model.graph) == made
    for one, other in zip(run(), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    again = weights(model.graph)
    assert np.array_equal(again["w"], whole["w"]) and np.array_equal(again["b"], whole["b"])


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match="does not hold an exported tower"):
        rewrite(tmp_path)
