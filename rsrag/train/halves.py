"""Convolutions that are read in halves become two, at the same result: ``python -m rsrag.train.halves FOLDER``.

In a cross-stage network (Wang et al. 2020) half of a layer's channels go around the next block. ONNX Runtime keeps
channels in blocks while it convolves and has to unfold them wherever a graph cuts them apart; a layer that is two from
the start, with half of the weights each, needs none of that. The folder's graph is replaced, its ``config.json`` goes
on naming the vectors by the graph that they were first made with.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rsrag.errors import BadModelFile, ExitCode, RsragError
from rsrag.models.described import PARTED_FROM
from rsrag.models.quantise import PART, halve, is_halved, strip, weights
from rsrag.models.weights import file_digest
from rsrag.replacing import replacing
from rsrag.train.export import CONFIG_NAME, ONNX_NAME


def part(graph: Any) -> int:
    """Rewrite a graph (``GraphProto``) in place; weights kept in float16 are float32 afterwards.

    Looked for is a convolution of one group, x · sigmoid(x), and behind it a ``Split`` in two or two ``Slice`` of its
    channels; what lies before them is read by nothing else, and no output of the graph.

    Returns:
        Convolutions that became two.
    """
    from onnx import numpy_helper

    found = weights(graph)
    kept = [node for node in graph.node if node.op_type != "Cast" or node.output[0] not in found]
    ends = [value.name for value in graph.output]
    made = 0
    for first in [node for node in kept if node.op_type in ("Split", "Slice")]:
        activation = _activation(first.input[0], kept, found)
        if activation is None:
            continue
        convolution, *rest = activation
        cuts, outputs = _halves(first, len(found[convolution.input[1]]), kept, found)
        reads = [_readers(node.output[0], kept, ends) for node in activation]
        if not cuts or reads != [2, 1, len(cuts)]:
            continue
        at = _place(kept, convolution)
        nodes = _two(convolution, outputs, found)
        kept[at:at] = nodes
        gone = {id(node) for node in (convolution, *rest, *cuts)}
        kept = [node for node in kept if id(node) not in gone]
        made += 1
    named = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend(numpy_helper.from_array(found[name], name) for name in found if name in named)
    return made


def _halves(node: Any, channels: int, nodes: list[Any], found: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The nodes that cut channels in two at this one, and the names of both halves; none where it does otherwise."""
    if node.op_type == "Split":
        even = len(node.output) == 2 and channels % 2 == 0 and _is_even(node, found)
        return ([node], list(node.output)) if even and _number(node, "axis", 0) == 1 else ([], [])
    cuts = [other for other in nodes if other.op_type == "Slice" and other.input[0] == node.input[0]]
    limits = [name for cut in cuts for name in cut.input[1:]]
    fixed = len(limits) > 4 and all(name in found and len(found[name]) == 1 for name in limits)
    if len(cuts) != 2 or not fixed:
        return [], []
    ranges = {cut.output[0]: [int(found[name][0]) for name in cut.input[1:]] for cut in cuts}
    cuts.sort(key=lambda cut: ranges[cut.output[0]])
    (start, middle, *first), (again, end, *other) = (ranges[cut.output[0]] for cut in cuts)
    halved = start == 0 and middle == again == channels // 2 and min(end, channels) == channels == 2 * middle
    plain = all(rest in ([1], [1, 1]) for rest in (first, other))  # the second axis, every channel
    return (cuts, [cut.output[0] for cut in cuts]) if halved and plain else ([], [])


def _is_even(split: Any, found: dict[str, Any]) -> bool:
    """Whether both parts of a ``Split`` are known to be as large as each other: with the same size, or with none."""
    given = [name for name in split.input[1:] if name]
    stated = [list(a.ints) for a in split.attribute if a.name == "split"]
    if not given and not stated:
        return True
    sizes = [list(found[name]) for name in given if name in found] + stated
    return bool(sizes) and len(set(sizes[0])) == 1


def _number(node: Any, name: str, default: int) -> int:
    """An attribute of a node."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _activation(name: str, nodes: list[Any], found: dict[str, Any]) -> tuple[Any, Any, Any] | None:
    """Convolution, sigmoid and product that make a tensor."""
    makers = {output: node for node in nodes for output in node.output}
    product = makers.get(name)
    if product is None or product.op_type != "Mul":
        return None
    by_kind = {makers[i].op_type: makers[i] for i in product.input if i in makers}
    convolution, gate = by_kind.get("Conv"), by_kind.get("Sigmoid")
    if convolution is None or gate is None or gate.input[0] != convolution.output[0]:
        return None
    fixed = len(convolution.input) == 3 and all(i in found for i in convolution.input[1:])
    return (convolution, gate, product) if fixed and _number(convolution, "group", 1) == 1 else None


def _readers(name: str, nodes: list[Any], ends: list[str]) -> int:
    """How often a tensor is read, as an output of the graph, too."""
    return sum(list(node.input).count(name) for node in nodes) + ends.count(name)


def _place(nodes: list[Any], wanted: Any) -> int:
    return next(at for at, node in enumerate(nodes) if node is wanted)


def _two(convolution: Any, outputs: list[str], found: dict[str, Any]) -> list[Any]:
    """Nodes of two convolutions with activations that make both outputs; their weights join the found ones."""
    from onnx import helper

    nodes = []
    for number, output in enumerate(outputs):
        copy = type(convolution).FromString(convolution.SerializeToString())
        copy.name = f"{convolution.name}{PART}{number}"
        copy.output[0] = f"{output}.sum"
        for at in (1, 2):
            whole = found[convolution.input[at]]
            half = len(whole) // 2
            copy.input[at] = f"{convolution.input[at]}{PART}{number}"
            found[copy.input[at]] = whole[half * number : half * (number + 1)].copy()
        nodes += [
            copy,
            helper.make_node("Sigmoid", [copy.output[0]], [f"{output}.gate"]),
            helper.make_node("Mul", [copy.output[0], f"{output}.gate"], [output]),
        ]
    return nodes


def rewrite(folder: Path) -> int:
    """Replace the graph of an exported tower, or of its feature maps, by its parted one and note the new digest.

    Returns:
        Convolutions that became two.

    Raises:
        BadModelFile: the folder holds no exported tower.
    """
    import onnx
    from google.protobuf.message import DecodeError

    config, path = folder / CONFIG_NAME, folder / ONNX_NAME
    try:
        table: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        model = onnx.load(str(path))
        before = str(table["sha256"][ONNX_NAME])
    except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
        raise BadModelFile(f"{folder} does not hold an exported tower: {error}") from error
    halved = is_halved(model.graph)
    made = part(model.graph)
    if not made:
        return 0
    if halved:  # to round the weights of others would change their vectors
        halve(model.graph)
    with replacing(path) as new:
        onnx.save(model, str(new))
        strip(new)
    table["sha256"][ONNX_NAME] = file_digest(path)
    table.setdefault(PARTED_FROM, before)
    with replacing(config) as new:
        new.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return made


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.halves", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="with config.json and encoder.onnx")
    try:
        print(f"{rewrite(parser.parse_args(arguments).folder)} convolutions became two")
    except RsragError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
