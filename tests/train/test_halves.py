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


def test_weights_in_float32_stay_so(tower: Path) -> None:
    wanted = vectors(tower)
    assert rewrite(tower) == 4
    for one, other in zip(vectors(tower), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def split(*, channels: int = 8, groups: int = 1, sizes: list[int] | None = None, kind: str = "stored") -> Any:
    """A convolution with activation behind which a Split cuts channels; its sizes are stored, computed or an input."""
    kernel = RNG.random((channels, 4 // groups, 1, 1), dtype=np.float32)
    tensors = [numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(np.ones(channels, np.float32), "b")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], group=groups),
        helper.make_node("Sigmoid", ["c"], ["g"]),
        helper.make_node("Mul", ["c", "g"], ["a"]),
    ]
    if sizes is None:
        nodes.append(helper.make_node("Split", ["a"], ["o0", "o1"], axis=1, num_outputs=2))
    else:
        given = np.array(sizes, dtype=np.int32 if kind == "cast" else np.int64)
        tensors += [numpy_helper.from_array(given, "s")] if kind == "stored" else []
        if kind == "cast":
            tensors.append(numpy_helper.from_array(given, "narrow"))
            nodes.append(helper.make_node("Cast", ["narrow"], ["s"], to=TensorProto.INT64))
        if kind == "constant":
            nodes.append(helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(given)))
        nodes.append(helper.make_node("Split", ["a", "s"], ["o0", "o1"], axis=1))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list("nchw")) for name in ("o0", "o1")]
    return helper.make_graph(nodes, "split", inputs, outputs, tensors)


def window() -> Any:
    """Halves of the channels of which only some rows are read."""
    made = graph([(0, 3), (3, 6)])
    longer = {"start": 1, "end": 4, "axis": 2}
    for tensor in made.initializer:
        if (name := tensor.name[:-1]) in longer:
            both = np.append(numpy_helper.to_array(tensor), longer[name])
            tensor.CopyFrom(numpy_helper.from_array(both, tensor.name))
    return made


def read(name: str) -> Any:
    """Halves of channels, and one of the tensors before them is an output as well."""
    made = graph([(0, 3), (3, 6)])
    made.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list("nchw")))
    return made


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (split(), 1),
        (split(sizes=[4, 4]), 1),
        (split(groups=2), 0),
        (split(groups=4), 0),
        (split(channels=5), 0),
        (split(sizes=[1, 7]), 0),
        (split(sizes=[1, 7], kind="constant"), 0),
        (split(sizes=[1, 7], kind="cast"), 0),
        (window(), 0),
        (read("a"), 0),
        (read("g"), 0),
        (read("c"), 0),
    ],
)
def test_what_is_no_half_of_a_plain_layer_stays(made: Any, parts: int) -> None:
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    shape = [size.dim_value for size in made.input[0].type.tensor_type.shape.dim]
    pixels = {"x": RNG.random(shape, dtype=np.float32)}

    def run() -> list[Any]:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, pixels)

    wanted = run()
    assert part(model.graph) == parts
    onnx.checker.check_model(model)
    for one, other in zip(run(), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("config", ["[]", '{"sha256": {"encoder.onnx": "x"}}', "{"])
def test_other_folders_are_refused(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadModelFile, match="does not hold an exported tower"):
        rewrite(tmp_path)
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(BadModelFile, match="does not hold an exported tower"):
        rewrite(tmp_path)
    assert main([str(tmp_path)]) != 0 and "does not hold an exported tower" in capsys.readouterr().err
