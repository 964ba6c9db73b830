"""Feature maps of a tower for windows of any size: ``python -m rsrag.train.dense ENCODER.onnx OUT_DIR [--cells]``.

Takes the trunk out of an exported image graph, leaves width and height open, keeps the features of its last three
stages, and applies the semantic head at every cell instead of to their mean (as Zhou et al. 2022 do with CLIP). With
``--cells`` only the latter is kept. Weights are stored in float16, which halves the file, and computed in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.errors import BadModelFile, ExitCode, RsragError
from rsrag.models.quantise import halve, weights
from rsrag.models.weights import file_digest

GRAPH, CONFIG = "encoder.onnx", "config.json"
STRIDES = {"fine": 8, "middle": 16, "coarse": 32, "semantic": 32}
CELLS = "semantic"


def stages(graph: Any) -> tuple[str, list[str], Any, Any]:
    """Input of the trunk's first convolution, the last outputs of its stages, weight and bias of the semantic head.

    Raises:
        BadModelFile: the graph is not that of a mini tower.
    """
    ends: dict[str, str] = {}
    found = weights(graph)
    makers = {output: node for node in graph.node for output in node.output}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1].startswith("trunk.") and ".conv_transition." in node.input[1]:
            stage = node.input[1].split("stages.")[1].split(".")[0]
            gates = [n for n in users[node.output[0]] if n.op_type == "Mul"]
            if gates:
                ends[stage] = gates[0].output[0]
    heads = [n for n in graph.node if n.op_type == "Gemm" and n.input[1] == "semantic.weight"]
    if len(ends) != 4 or not heads or "mean" not in found:
        raise BadModelFile("the graph is not that of a mini tower", hint="export a run of rsrag train encoder")
    first = next(n for n in graph.node if n.op_type == "Conv")
    normalised = makers[makers[first.input[0]].input[0]].input[0]
    return normalised, [ends[key] for key in sorted(ends)], found["semantic.weight"], found["semantic.bias"]


def make(encoder: Path, out_dir: Path, *, cells: bool = False) -> dict[str, Any]:
    """Write ``encoder.onnx`` and ``config.json`` of the feature maps.

    Args:
        encoder: image graph written by :mod:`rsrag.train.export`.
        out_dir: where the files go.
        cells: whether the text-aligned vectors are all that is wanted.

    Returns:
        The content of ``config.json``.

    Raises:
        BadModelFile: the graph is not that of a mini tower.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    start, ends, weight, bias = stages(onnx.load(str(encoder)).graph)
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "cut.onnx"
        onnx.utils.extract_model(str(encoder), str(cut), [start], ends[1:], check_model=False)
        model = onnx.load(str(cut))
    graph = model.graph
    names = dict(zip(ends[1:], ("fine", "middle", "coarse"), strict=True)) | {start: "pixels"}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    head = weight[:, :, None, None]
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(head), "semantic.weight"))
    graph.initializer.append(numpy_helper.from_array(bias, "semantic.bias"))
    graph.node.append(helper.make_node("Conv", ["coarse", "semantic.weight", "semantic.bias"], ["semantic"]))
    halve(graph)
    strides = {CELLS: STRIDES[CELLS]} if cells else STRIDES
    open_sides = ["batch", 3, "height", "width"]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", f"{name}_size", f"{name}_h", f"{name}_w"])
        for name in strides
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, open_sides)
    made = helper.make_graph(graph.node, "features", [pixels], outputs, graph.initializer)
    done = helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(done)
    out_dir.mkdir(parents=True, exist_ok=True)
    onnx.save(done, str(out_dir / GRAPH))
    table = {
        "name": "mini-cells" if cells else "mini-dense",
        "strides": strides,
        "from_sha256": file_digest(encoder),
        "sha256": {GRAPH: file_digest(out_dir / GRAPH)},
    }
    (out_dir / CONFIG).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return table


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.dense", description=__doc__.split("\n\n")[0])
    parser.add_argument("encoder", type=Path, help="image graph of an export")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--cells", action="store_true", help="only the text-aligned vectors")
    given = parser.parse_args(arguments)
    try:
        made = make(given.encoder, given.out, cells=given.cells)
    except (RsragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, RsragError) else ExitCode.NOTHING
    print(json.dumps(made, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
