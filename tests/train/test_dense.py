"""The trunk is taken out of an exported graph, whatever the run; other graphs are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from rsrag.errors import BadModelFile  # noqa: E402
from rsrag.models.dense import SHIPPED, DenseEncoder  # noqa: E402
from rsrag.train.dense import main, make  # noqa: E402

ENCODER = SHIPPED.parent / "image" / "encoder.onnx"


def test_the_shipped_maps_can_be_made_again(tmp_path: Path) -> None:
    table = make(ENCODER, tmp_path)
    assert table["sha256"]["encoder.onnx"]
    picture = np.random.default_rng(0).integers(0, 255, (96, 64, 3)).astype(np.uint8)
    ours, shipped = DenseEncoder(tmp_path).maps(picture), DenseEncoder().maps(picture)
    for name, values in shipped.items():
        assert np.allclose(ours[name], values, atol=1e-4), name


def test_another_graph_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:])), tmp_path / "g.onnx")
    with pytest.raises(BadModelFile, match="not that of a mini tower"):
        make(tmp_path / "g.onnx", tmp_path / "out")
    for name, message in (("g.onnx", "not that of a mini tower"), ("none.onnx", "none.onnx")):
        assert main([str(tmp_path / name), str(tmp_path / "out")]) == 1
        said = capsys.readouterr()
        assert said.err.startswith("error: ") and message in said.err and not said.out
    with pytest.raises(SystemExit) as ended:
        main(["one"])
    assert ended.value.code == 2
