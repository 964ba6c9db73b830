"""Int8 copies of ONNX graphs, calibrated on pictures, and graphs without traces of the machine that exported them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt

from rsrag.errors import MissingExtra

_PRODUCTS = ("MatMul", "Gemm")


_SMALL = 64
"""Weights of so few numbers are kept as they are."""


PART = ".part."
"""Between the name of weights and the number of the half of them that :mod:`rsrag.train.halves` made."""


def int8(graph: Path, out: Path, batches: Iterable[npt.NDArray[Any]]) -> None:
    """Static quantisation: int8 weights by channel, uint8 activations whose ranges come from pictures.

    The ranges are fixed, so that a picture's vector does not depend on what else is in its batch, as it would with
    ranges taken anew from every batch. Weights use seven of their eight bits: with all eight, sums of uint8 times int8
    saturate on processors without VNNI instructions, whose vectors would be others. In graphs of matrix products only
    those with weights become int8, and their results stay float: the rest, attention among it, would lose more than it
    gains.

    Args:
        graph: float32 ONNX file with one input.
        out: file to write.
        batches: some hundred pictures like those to come, as the graph's input wants them.

    Raises:
        MissingExtra: the package ``onnx`` is not installed.
    """
    _need_onnx()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the batches by the name of the input."""

        def __init__(self, name: str) -> None:
            self.batches: Iterator[npt.NDArray[Any]] = iter(batches)
            self.name = name

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {self.name: batch}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        name, products, moving = _described(prepared)
        quantize_static(
            str(prepared),
            str(out),
            Reader(name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=list(_PRODUCTS) if products else None,
            nodes_to_exclude=moving,
            extra_options={"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)} if products else None,
        )


def _described(graph: Path) -> tuple[str, bool, list[str]]:
    """Name of the input, whether it is a graph of matrix products, and the names of products that have no weight."""
    import onnx

    model = onnx.load(str(graph)).graph
    constant = {tensor.name for tensor in model.initializer}
    operations = Counter(node.op_type for node in model.node)
    moving = [n.name for n in model.node if n.op_type in _PRODUCTS and not constant.intersection(n.input[:2])]
    return model.input[0].name, operations["MatMul"] > operations["Conv"], moving


def strip(path: Path) -> None:
    """Remove names of source files and other traces of the exporting machine from a graph."""
    _need_onnx()
    import onnx

    graph = onnx.load(str(path))
    for holder in [graph, graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.functions]:
        del holder.metadata_props[:]
        holder.doc_string = ""
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def halve(graph: Any) -> None:
    """Keep float32 weights of more than 64 numbers as float16 and cast them back when a graph (``GraphProto``) runs.

    The file is half as large; everything is computed in float32.
    """
    import numpy as np
    from onnx import NodeProto, TensorProto, helper, numpy_helper

    kept, casts = [], []
    for item in graph.initializer:
        array = numpy_helper.to_array(item)
        if array.dtype == np.float32 and array.size > _SMALL:
            kept.append(numpy_helper.from_array(array.astype(np.float16), f"{item.name}.half"))
            casts.append(helper.make_node("Cast", [f"{item.name}.half"], [item.name], to=TensorProto.FLOAT))
        else:
            kept.append(TensorProto.FromString(item.SerializeToString()))
    nodes = [*casts, *(NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def is_halved(graph: Any) -> bool:
    """Whether :func:`halve` stored weights of a graph (``GraphProto``)."""
    return bool(_casts(graph))


def _casts(graph: Any) -> list[Any]:
    """The nodes that make float32 weights of those stored in float16."""
    from onnx import TensorProto

    stored = {item.name for item in graph.initializer if item.data_type == TensorProto.FLOAT16}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    return [node for node in casts if any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute)]


def weights(graph: Any) -> dict[str, Any]:
    """Weights of a graph (``GraphProto``) by name, as NumPy arrays.

    Those that :func:`halve` kept are float32 again, those in parts are there as a whole, too.
    """
    import numpy as np
    from onnx import numpy_helper

    found = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    found |= {node.output[0]: found[node.input[0]].astype(np.float32) for node in _casts(graph)}
    for name in [name for name in found if name.endswith(f"{PART}0")]:
        whole = name.removesuffix(f"{PART}0")
        found[whole] = np.concatenate([found[name], found[f"{whole}{PART}1"]])
    return found


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtra("the export of models", extra="train", package=error.name) from error
