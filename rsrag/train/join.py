"""Two exported towers as one graph: ``python -m rsrag.train.join BASE WORDS OUT [--size S] [--share X] ...``.

Both must have been trained against the same text head (the second one with ``tuning.lock = "text"``, from the first).
Semantic vectors are the mean of both towers', the second one with a mirror image too if asked; the instance vector is
the base's. Two networks that err differently are better together than each (Hansen & Salamon 1990). The base may see
the picture smaller than the second tower does: it is reduced inside of the graph. Weights are stored in float16.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rsrag.errors import BadModelFile, ExitCode, RsragError
from rsrag.models.described import PARTED_FROM
from rsrag.models.quantise import halve, strip
from rsrag.models.weights import file_digest
from rsrag.replacing import replacing
from rsrag.train.export import CONFIG_NAME, HEAD_NAME, ONNX_NAME

PREFIX = "words."
SEMANTIC, INSTANCE, PIXELS = "semantic", "instance", "pixels"
BASE, SMALL = "base.semantic", "base.pixels"


def join(
    base: Path, words: Path, out_dir: Path, *, size: int, share: float, turns: int = 1, base_size: int | None = None
) -> dict[str, Any]:
    """Write ``encoder.onnx``, ``text_head.safetensors`` and ``config.json`` of two towers.

    Args:
        base: folder of an export, whose weights keep their names and whose instance vector is kept. Of a joined one its
            base is taken.
        words: folder of another one of the same text head.
        out_dir: where the files go.
        size: input size, in px.
        share: of the second tower in the semantic vector, 0 to 1.
        turns: 1, or 2 for the second tower to see the picture mirrored along its diagonal as well.
        base_size: size in px that the base sees, at most ``size``; the same when None.

    Returns:
        The content of ``config.json``.

    Raises:
        BadModelFile: the text heads differ, a graph is not an export, or the base would see more than there is.
    """
    import onnx
    from onnx import TensorProto, compose, helper

    if base_size is not None and not 1 <= base_size <= size:
        raise BadModelFile(f"a base of {base_size} px in a tower of {size} px", hint="at most the input size")
    table: dict[str, Any] = json.loads((base / CONFIG_NAME).read_text(encoding="utf-8"))
    if (base / HEAD_NAME).read_bytes() != (words / HEAD_NAME).read_bytes():
        raise BadModelFile(
            f"{base} and {words} have other text heads", hint='train the second with tuning.lock = "text"'
        )
    table.pop(PARTED_FROM, None)  # the name of other vectors
    origin = table.get("joined", {}).get("base") or file_digest(base / ONNX_NAME)
    first, second = _alone(base), _alone(words)
    graph, ends = first.graph, []
    _rename(graph, SEMANTIC, BASE)
    if base_size not in (None, size):
        _rename(graph, PIXELS, SMALL)
        _reduce(graph, size, base_size)
    ends.append((BASE, 1 - share))
    for turn in range(turns):
        copy = compose.add_prefix_graph(second.graph, f"{PREFIX}{turn}." if turn else PREFIX)
        prefix = f"{PREFIX}{turn}." if turn else PREFIX
        if turn:  # the weights of all turns are those of the first
            own = {item.name: PREFIX + item.name.removeprefix(prefix) for item in copy.initializer}
            for node in copy.node:
                node.input[:] = [own.get(name, name) for name in node.input]
            del copy.initializer[:]
            graph.node.append(helper.make_node("Transpose", [PIXELS], [prefix + PIXELS], perm=[0, 1, 3, 2]))
        else:
            _rename(copy, prefix + PIXELS, PIXELS)
        graph.node.extend(copy.node)
        graph.initializer.extend(copy.initializer)
        ends.append((prefix + SEMANTIC, share / turns))
    _mean(graph, ends)
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, ["batch", 3, size, size]))
    for name, width in ((SEMANTIC, table["semantic_dim"]), (INSTANCE, table["instance_dim"])):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]))
    halve(graph)
    onnx.checker.check_model(first)
    out_dir.mkdir(parents=True, exist_ok=True)
    with replacing(out_dir / ONNX_NAME) as path:
        onnx.save(first, str(path))
        strip(path)
    with replacing(out_dir / HEAD_NAME) as path:
        path.write_bytes((base / HEAD_NAME).read_bytes())
    table |= {
        "version": json.loads((words / CONFIG_NAME).read_text(encoding="utf-8"))["version"],
        "input_size": size,
        "joined": {
            "base": origin,
            "words": file_digest(words / ONNX_NAME),
            "share": share,
            "turns": turns,
            "base_size": base_size or size,
        },
        "sha256": {name: file_digest(out_dir / name) for name in (ONNX_NAME, HEAD_NAME)},
    }
    with replacing(out_dir / CONFIG_NAME) as path:
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return table


def _alone(folder: Path) -> Any:
    """The graph of an export (``ModelProto``), or the base of a joined one."""
    import onnx

    model = onnx.load(str(folder / ONNX_NAME))
    if all(BASE not in node.output for node in model.graph.node):
        return model
    seen = SMALL if any(SMALL in node.output for node in model.graph.node) else PIXELS
    with tempfile.TemporaryDirectory() as work:
        cut = Path(work) / ONNX_NAME
        onnx.utils.extract_model(str(folder / ONNX_NAME), str(cut), [seen], [BASE, INSTANCE], check_model=False)
        model = onnx.load(str(cut))
    _rename(model.graph, BASE, SEMANTIC)
    _rename(model.graph, SMALL, PIXELS)
    return model


def reduction(size: int, to: int) -> Any:
    """Means over equal parts of a line of pixels, float32 [to, size]: a row has every pixel's share of its part."""
    import numpy as np

    edges = np.arange(to + 1) * size / to
    pixel = np.arange(size)
    inside = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.asarray(np.maximum(inside, 0) * to / size, dtype=np.float32)


def _reduce(graph: Any, size: int, to: int) -> None:
    """Nodes before all others that make :data:`SMALL` of :data:`PIXELS`: area means along columns, then along rows."""
    from onnx import helper, numpy_helper

    means = reduction(size, to)
    graph.initializer.append(numpy_helper.from_array(means.T.copy(), "base.reduce.columns"))
    graph.initializer.append(numpy_helper.from_array(means, "base.reduce.rows"))
    graph.node.insert(0, helper.make_node("MatMul", [PIXELS, "base.reduce.columns"], ["base.narrow"]))
    graph.node.insert(1, helper.make_node("MatMul", ["base.reduce.rows", "base.narrow"], [SMALL]))


def _rename(graph: Any, old: str, new: str) -> None:
    """Another name for a tensor."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _mean(graph: Any, ends: list[tuple[str, float]]) -> None:
    """Nodes for the weighted mean of unit vectors, of unit length, named :data:`SEMANTIC`; no weight, no part in it."""
    import numpy as np
    from onnx import helper, numpy_helper

    parts = []
    for number, (name, weight) in enumerate(ends):
        if not weight:
            continue
        graph.initializer.append(numpy_helper.from_array(np.float32(weight), f"join.weight.{number}"))
        graph.node.append(helper.make_node("Mul", [name, f"join.weight.{number}"], [f"join.part.{number}"]))
        parts.append(f"join.part.{number}")
    graph.node.append(helper.make_node("Sum", parts, ["join.sum"]))
    graph.node.append(helper.make_node("LpNormalization", ["join.sum"], [SEMANTIC], axis=1, p=2))


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.join", description=__doc__.split("\n\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--base-size", type=int, help="that the base sees; default: all of it")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--turns", type=int, choices=(1, 2), default=1)
    given = parser.parse_args(arguments)
    sizes = {"size": given.size, "base_size": given.base_size}
    try:
        made = join(given.base, given.words, given.out, share=given.share, turns=given.turns, **sizes)
    except (RsragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, RsragError) else ExitCode.NOTHING
    print(json.dumps(made, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
