"""The change network of the default profile: ``python -m rsrag.train.change --pairs FOLDER|ZIP [...] --out DIR``.

Every folder holds ``A/``, ``B/`` and ``label/`` with files of the same names. The encoder stays frozen: its maps of
both dates are computed once, reduced by principal components, and a perceptron learns to tell changed cells from
others, beside the pixels' own colours and edges, in the cell and around it. Pairs that show the same picture twice,
shifted, blurred, with other light or noise, teach it what is no change. Figures are cross-validated by pair: every pair
is judged by networks that never saw it. The network that is written has seen them all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag._version import __version__
from rsrag.eval.datasets.change_pairs import LabelledPair, digest, read_pairs
from rsrag.models.base import Picture
from rsrag.models.changehead import CELL, CHANNELS, LOOK, colours_of, describe
from rsrag.models.dense import DenseEncoder
from rsrag.models.weights import file_digest

COMPONENTS = 24
HIDDEN = 48
AROUND = (5, 13)
"""Sides in cells of the neighbourhoods whose means are seen beside the cell itself."""
NETWORKS = 3
FOLDS = 5
STEPS = 400
BATCH = 2048
SYMMETRIC, REVERSE = False, True
"""Whether the network is blind to the order of the dates, and whether it learns from reversed pairs, too."""
Mask = npt.NDArray[np.bool_]
Stack = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A pair as the network sees it: ``before`` and ``after`` [C, h, w], ``share`` of changed pixels a cell [h, w]."""

    before: Stack
    after: Stack
    share: Stack


# --- what is no change ---


def altered(picture: Picture, kind: str, rng: np.random.Generator) -> Picture:
    """The same ground as another acquisition would show it: shift, light, blur, noise or all of them."""
    found: Any = picture.astype(np.float32)
    if kind in ("shift", "all"):
        dx, dy = rng.uniform(-3, 3, 2)
        matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
        size = (picture.shape[1], picture.shape[0])
        found = cv2.warpAffine(found, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if kind in ("light", "all"):
        gamma, gains = np.exp(rng.uniform(-0.5, 0.5)), np.exp(rng.uniform(-0.25, 0.25, 3))
        found = 255 * (np.clip(found, 0, 255) / 255) ** gamma * gains + rng.uniform(-20, 20, 3)
    if kind in ("blur", "all"):
        found = cv2.GaussianBlur(found, (0, 0), float(rng.uniform(0.5, 2.0)))
    if kind in ("noise", "all"):
        found = found + rng.normal(0, rng.uniform(2, 10), found.shape)
    return np.asarray(np.clip(np.rint(found), 0, 255), dtype=np.uint8)


KINDS = ("shift", "light", "blur", "noise", "all")


# --- features ---


def cells_of(encoder: DenseEncoder, before: Picture, after: Picture, changed: Mask | None) -> Cells:
    """What the network sees of a pair."""
    one = describe(encoder, before, colours_of(before))
    two = describe(encoder, after, colours_of(after))
    size = (one.shape[2], one.shape[1])
    share = np.zeros(size[::-1], dtype=np.float32)
    if changed is not None:
        padded = np.pad(changed, ((0, size[1] * CELL - changed.shape[0]), (0, size[0] * CELL - changed.shape[1])))
        share = np.asarray(cv2.resize(padded.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    return Cells(one, two, share)


def gather(pairs: Sequence[LabelledPair], encoder: DenseEncoder, *, seed: int = 0) -> list[list[Cells]]:
    """For every pair: itself, mirrored, and both of its dates as pairs without change."""
    rng = np.random.default_rng(seed)
    found = []
    for number, pair in enumerate(pairs):
        own = [cells_of(encoder, pair.before, pair.after, pair.changed)]
        first, second, changed = (_turned(part) for part in (pair.before, pair.after, pair.changed))
        own.append(cells_of(encoder, first, second, changed))
        for picture in (pair.before, pair.after):
            kind = KINDS[number % len(KINDS)] if picture is pair.before else "all"
            own.append(cells_of(encoder, picture, altered(picture, kind, rng), None))
        found.append(own)
    return found


def _turned(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(np.rot90(part, 1)[:, ::-1])


def components(cells: Sequence[Cells]) -> tuple[Stack, Stack]:
    """Mean [CHANNELS] and whitening projection [COMPONENTS, CHANNELS] of the encoder's part."""
    rows = np.concatenate([s[:CHANNELS].reshape(CHANNELS, -1).T[::5] for c in cells for s in (c.before, c.after)])
    mean = rows.mean(axis=0)
    covariance = np.cov(rows - mean, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    top = np.argsort(values)[::-1][:COMPONENTS]
    return mean.astype(np.float32), (vectors[:, top] / np.sqrt(values[top] + 1e-8)).T.astype(np.float32)


# --- the network ---


def network(mean: Stack, projection: Stack, *, symmetric: bool) -> Any:
    """Torch module from the maps of two dates [1, C, h, w] to the logit of change [1, 1, h, w]."""
    import torch
    from torch import nn

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.from_numpy(mean)[None, :, None, None])
            self.register_buffer("projection", torch.from_numpy(projection)[:, :, None, None])
            width = (2 if symmetric else 3) * (COMPONENTS + LOOK) * (1 + len(AROUND))
            self.layers = nn.Sequential(
                nn.Conv2d(width, HIDDEN, 1), nn.GELU(), nn.Dropout(0.3), nn.Conv2d(HIDDEN, HIDDEN, 1), nn.GELU(),
                nn.Dropout(0.3), nn.Conv2d(HIDDEN, 1, 1),
            )  # fmt: skip

        def reduced(self, stack: Any) -> Any:
            maps = nn.functional.conv2d(stack[:, :CHANNELS] - self.mean, self.projection)
            return torch.cat([maps, stack[:, CHANNELS:]], 1)

        def seen(self, before: Any, after: Any) -> Any:
            one, two = self.reduced(before), self.reduced(after)
            difference = two - one
            both = [difference.abs(), one + two] if symmetric else [difference, one, two]
            whole = torch.cat(both, 1)
            pools = [nn.functional.avg_pool2d(whole, side, 1, side // 2, count_include_pad=False) for side in AROUND]
            if not symmetric:
                pools = [torch.cat([p[:, : COMPONENTS + LOOK].abs(), p[:, COMPONENTS + LOOK :]], 1) for p in pools]
            return torch.cat([whole, *pools], 1)

        def forward(self, before: Any, after: Any) -> Any:
            return self.layers(self.seen(before, after))

    return Network()


def rows_of(net: Any, groups: Sequence[Sequence[Cells]], *, reverse: bool) -> tuple[Any, Any, Any]:
    """What the perceptron learns from: inputs [n, width], changed shares [n], weights [n].

    All cells that changed are taken, and a part of the others.
    """
    import torch

    rng = np.random.default_rng(0)
    rows, labels, weights = [], [], []
    with torch.no_grad():
        for group in groups:
            for position, cell in enumerate(group):
                one, two = (torch.from_numpy(s)[None] for s in (cell.before, cell.after))
                share = cell.share.reshape(-1)
                for first, second, weight in [(one, two, 1.0), (two, one, 0.5)] if reverse else [(one, two, 1.0)]:
                    keep = (share > 0) | (rng.random(len(share)) < (0.5 if position < 2 else 0.15))
                    rows.append(net.seen(first, second)[0].flatten(1).T[torch.from_numpy(keep)])
                    labels.append(share[keep])
                    weights.append(np.where(share[keep] > 0, 1.0, 1.5).astype(np.float32) * np.float32(weight))
    return torch.cat(rows), torch.from_numpy(np.concatenate(labels)), torch.from_numpy(np.concatenate(weights))


def fit(groups: Sequence[Sequence[Cells]], *, networks: int, steps: int, symmetric: bool, reverse: bool) -> list[Any]:
    """Train networks that differ by their seed; equal arguments give equal weights."""
    import torch

    mean, projection = components([c for group in groups for c in group])
    rows = rows_of(network(mean, projection, symmetric=symmetric), groups, reverse=reverse)
    found = []
    for seed in range(networks):
        torch.manual_seed(seed)
        net = network(mean, projection, symmetric=symmetric)
        _fit(net, rows, seed=seed, steps=steps)
        found.append(net.eval())
    return found


def _fit(net: Any, rows: tuple[Any, Any, Any], *, seed: int, steps: int) -> None:
    import torch
    from torch import nn

    x, y, weights = rows
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(net.layers.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    net.train()
    for _ in range(steps):
        chosen = torch.from_numpy(rng.integers(0, len(x), BATCH))
        logits = net.layers(x[chosen].T[None, :, :, None])[0, 0, :, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y[chosen], weight=weights[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def probabilities(nets: Sequence[Any], cells: Cells) -> Stack:
    """Mean probability of several networks, [h, w]."""
    import torch

    one, two = (torch.from_numpy(s)[None] for s in (cells.before, cells.after))
    with torch.no_grad():
        return np.asarray(torch.stack([torch.sigmoid(n(one, two))[0, 0] for n in nets]).mean(0).numpy())


def cross_validate(
    pairs: Sequence[LabelledPair], groups: Sequence[Sequence[Cells]], *, steps: int, networks: int, symmetric: bool,
    reverse: bool,
) -> list[Stack]:  # fmt: skip
    """Probability maps [H, W] of every pair, by networks that never saw it."""
    found: dict[int, Stack] = {}
    for fold in range(min(FOLDS, len(pairs))):
        held = [i for i in range(len(pairs)) if i % FOLDS == fold]
        seen = [groups[i] for i in range(len(pairs)) if i % FOLDS != fold]
        nets = fit(seen, networks=networks, steps=steps, symmetric=symmetric, reverse=reverse)
        for i in held:
            cells = probabilities(nets, groups[i][0])
            height, width = pairs[i].changed.shape
            full = cv2.resize(cells, (cells.shape[1] * CELL, cells.shape[0] * CELL), interpolation=cv2.INTER_LINEAR)
            found[i] = np.asarray(full[:height, :width])
    return [found[i] for i in range(len(pairs))]


def scores(pairs: Sequence[LabelledPair], maps: Sequence[Stack], threshold: float) -> dict[str, float]:
    """Precision, recall, F1 and IoU over all pixels, and F1 by set."""
    totals: dict[str, npt.NDArray[np.int64]] = {}
    for pair, found in zip(pairs, maps, strict=True):
        mask = found > threshold
        counts = np.array([(mask & pair.changed).sum(), (mask & ~pair.changed).sum(), (~mask & pair.changed).sum()])
        for key in ("all", pair.name.split("/")[0]):
            totals[key] = totals.get(key, np.zeros(3, dtype=np.int64)) + counts
    tp, fp, fn = (float(v) for v in totals["all"])
    figures = {"precision": tp / max(tp + fp, 1), "recall": tp / max(tp + fn, 1), "iou": tp / max(tp + fp + fn, 1)}
    for key, (a, b, c) in totals.items():
        figures["f1" if key == "all" else f"f1 {key}"] = float(2 * a / max(2 * a + b + c, 1))
    return {name: round(value, 4) for name, value in figures.items()}


def best_line(pairs: Sequence[LabelledPair], maps: Sequence[Stack]) -> float:
    """The threshold with the highest F1 on held-out maps."""
    lines = [round(float(t), 2) for t in np.arange(0.1, 0.8, 0.02)]
    return max(lines, key=lambda line: scores(pairs, maps, line)["f1"])


def nested(pairs: Sequence[LabelledPair], maps: Sequence[Stack]) -> list[Stack]:
    """Held-out maps with their fold's line, chosen on the other folds, moved to 0.5: the line is not flattered."""
    found = []
    for i, own in enumerate(maps):
        others = [j for j in range(len(pairs)) if j % FOLDS != i % FOLDS]
        line = best_line([pairs[j] for j in others], [maps[j] for j in others])
        found.append(own + np.float32(0.5 - line))
    return found


def held_out(pairs: Sequence[LabelledPair]) -> list[Stack]:
    """Maps of pairs by networks that never saw them, trained as the shipped one is; the line lies at 0.5."""
    groups = gather(pairs, DenseEncoder())
    maps = cross_validate(pairs, groups, steps=STEPS, networks=NETWORKS, symmetric=SYMMETRIC, reverse=REVERSE)
    return nested(pairs, maps)


def export(nets: Sequence[Any], path: Path) -> None:
    """Write the mean probability of several networks as one ONNX graph with open width and height."""
    import torch

    class Mean(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.nets = torch.nn.ModuleList(nets)

        def forward(self, before: Any, after: Any) -> Any:
            return torch.stack([torch.sigmoid(net(before, after)) for net in self.nets]).mean(0)

    example = torch.zeros(1, CHANNELS + LOOK, 24, 20)
    axes = {2: "height", 3: "width"}
    torch.onnx.export(
        Mean().eval(), (example, example.clone()), str(path), input_names=["before", "after"],
        output_names=["probability"], dynamic_axes={n: axes for n in ("before", "after", "probability")},
        opset_version=17, dynamo=False,
    )  # fmt: skip


def train(
    sources: Sequence[Path], out: Path, *, steps: int = STEPS, networks: int = NETWORKS, symmetric: bool = SYMMETRIC,
    reverse: bool = REVERSE,
) -> dict[str, Any]:  # fmt: skip
    """Cross-validate, choose the threshold on the held-out maps, train on everything, write the network and its config.

    Raises:
        UsageError: a source without labelled pairs.
    """
    pairs = [pair for source in sources for pair in read_pairs(source)]
    encoder = DenseEncoder()
    groups = gather(pairs, encoder)
    maps = cross_validate(pairs, groups, steps=steps, networks=networks, symmetric=symmetric, reverse=reverse)
    threshold = best_line(pairs, maps)
    figures = scores(pairs, nested(pairs, maps), 0.5)
    nets = fit(groups, networks=networks, steps=steps, symmetric=symmetric, reverse=reverse)
    out.mkdir(parents=True, exist_ok=True)
    export(nets, out / "head.onnx")
    config = {
        "name": "mini-change", "written_by": f"rsrag {__version__}", "encoder": encoder.fingerprint,
        "threshold": threshold, "sha256": {"head.onnx": file_digest(out / "head.onnx")},
        "trained_on": sorted({pair.name.split("/")[0] for pair in pairs}), "pairs": len(pairs),
        "pair_digests": [digest(pair) for pair in pairs],
        "settings": {"steps": steps, "networks": networks, "symmetric": symmetric, "reversed_too": reverse},
        "cross_validated": figures,
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the config."""
    from rsrag.models.changehead import SHIPPED

    parser = argparse.ArgumentParser(prog="python -m rsrag.train.change", description=__doc__)
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="folders or zip files with A/ B/ label/")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--symmetric", action="store_true", help="blind to the order of the dates")
    parser.add_argument("--not-reversed", action="store_true", help="do not learn from reversed pairs, too")
    said = parser.parse_args(arguments)
    config = train(
        said.pairs, said.out, steps=said.steps, networks=said.networks, symmetric=said.symmetric,
        reverse=not said.not_reversed,
    )  # fmt: skip
    print(json.dumps(config, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
