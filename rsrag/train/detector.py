"""Train the object detector: ``python -m rsrag.train.detector --data DIR --cache DIR [--fold K|all|none] [--out DIR]``.

DIR is a folder with ``vhr10.zip`` (520 pictures, ten classes, COCO boxes) and ``ucm_captions.zip``, whose training
pictures the projection of the encoder's maps is learned from, without labels. The encoder stays as it is: its maps are
computed once per picture and view, projected and cached in float16; a small network is then trained on sampled cells,
with the background cells that fool it most looked for on the way. Cross-validation writes what each fold's network
finds in the pictures it has not seen (``predictions.json``) and the figures; the network that is shipped is trained on
all pictures, and its card says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rsrag.errors import ExitCode, RsragError
from rsrag.eval.metrics import boxes as metrics
from rsrag.models.boxes import as_boxes
from rsrag.models.dense import DenseEncoder
from rsrag.models.groundhead import CONFIG, GRAPH, Detections, decode
from rsrag.models.groundviews import ALIGN, CELL, LEVELS
from rsrag.models.quantise import halve
from rsrag.models.weights import file_digest
from rsrag.train import detector_cache as caching
from rsrag.train.detector_cache import Labelled
from rsrag.train.detector_cells import Cells
from rsrag.train.detector_head import UNIT, Head, Whole, loss

Rows = Sequence[Labelled]
FOLDS = 5
NEIGHBOURS = 5
"""Pictures with numbers this near go to one fold together."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it is trained.

    Attributes:
        epochs: passes over all views.
        batch: pictures a step.
        rate: highest learning rate (AdamW, cosine).
        decay: weight decay.
        good: most cells of things a picture.
        bad: background cells a picture, half of them hard ones once these are known.
        mined: epochs before which the hard ones are looked for.
        dropout: share of channels hidden.
        seed: of everything random.
    """

    epochs: int = 10
    batch: int = 8
    rate: float = 2e-3
    decay: float = 0.02
    good: int = 48
    bad: int = 48
    mined: tuple[int, ...] = (4,)
    dropout: float = 0.1
    seed: int = 0


def train(cells: Cells, rows: Rows, classes: int, views: int, recipe: Recipe = Recipe(), tell: Any = None) -> Head:
    """A network trained on pictures of the cache.

    Args:
        cells: of the cache.
        rows: pictures.
        classes: how many.
        views: of each picture in the cache.
        recipe: how.
        tell: called with a line an epoch.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    head = Head(classes)
    chosen = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    items = [(row, view) for row in rows for view in range(views)]
    total = recipe.epochs * -(-len(items) // recipe.batch)
    plan = torch.optim.lr_scheduler.OneCycleLR(chosen, recipe.rate, total, pct_start=0.1)
    hard: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
    nothing = np.zeros(0, dtype=np.int64)
    for epoch in range(recipe.epochs):
        begun, losses = time.perf_counter(), []
        if epoch in recipe.mined:
            hard = {(row.key, view): cells.mine(head, row, view) for row, view in items}
        order = rng.permutation(len(items))
        for start in range(0, len(order), recipe.batch):
            drawn = [items[n] for n in order[start : start + recipe.batch]]
            parts = [
                cells.draw(row, view, hard.get((row.key, view), nothing), recipe.good, recipe.bad, rng)
                for row, view in drawn
            ]
            patches, kind, sides = (torch.cat(part) for part in zip(*parts, strict=True))
            chosen.zero_grad(set_to_none=True)
            value = loss(head.cells(patches, recipe.dropout), kind, sides, classes)
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            chosen.step()
            plan.step()
            losses.append(float(value.detach()))
        if tell is not None:
            tell({"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4), "s": time.perf_counter() - begun})
    head.eval()
    return head


@torch.no_grad()  # type: ignore[untyped-decorator]
def found_in(head: Head, cells: Cells, row: Labelled) -> Detections:
    """What a network finds in a picture as it is."""
    out = head(cells.whole(row))[0]
    classes = head.classes
    scores = torch.sqrt(torch.sigmoid(out[:classes]) * torch.sigmoid(out[classes : classes + 1]))
    sides = torch.exp(out[classes + 1 :].clamp(-4, 4.5)) * UNIT
    rows, cols = -(-row.height // CELL), -(-row.width // CELL)
    return decode(scores[:, :rows, :cols].numpy(), sides[:, :rows, :cols].numpy(), row.width, row.height)


def fold_of(rows: Rows, folds: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold of each picture; neighbours by number, which may show one place, stay together."""
    groups = np.array([int("".join(filter(str.isdigit, row.key)) or 0) // NEIGHBOURS for row in rows], dtype=np.int64)
    distinct = np.unique(groups)
    dealt = dict(zip(np.random.default_rng(seed).permutation(distinct), np.arange(len(distinct)) % folds, strict=True))
    return np.array([dealt[group] for group in groups], dtype=np.int64)


def precision_of(
    rows: Rows, found: dict[str, Detections], names: Sequence[str], threshold: float = 0.5
) -> dict[str, float]:
    """Average precision of each class, and their mean under ``mean``."""
    table: dict[str, float] = {}
    for number, name in enumerate(names):
        truth = {row.key: row.boxes[row.labels == number] for row in rows}
        own = {key: d.chosen(d.labels == number) for key, d in found.items()}
        given = {key: metrics.Found(as_boxes(d.boxes), d.scores) for key, d in own.items()}
        value = metrics.average_precision(given, truth, threshold)
        if value is not None:
            table[name] = value
    return {**table, "mean": float(np.mean(list(table.values())))}


def best_thresholds(rows: Rows, found: dict[str, Detections], names: Sequence[str]) -> dict[str, float]:
    """For each class the score above which F1 at IoU 0.5 is highest over the held-out pictures."""
    table = {}
    for number, name in enumerate(names):
        right, scores, total = [], [], 0
        for row in rows:
            own = found[row.key].chosen(found[row.key].labels == number)
            truth = row.boxes[row.labels == number]
            total += len(truth)
            right.append(metrics.hits(metrics.Found(own.boxes, own.scores), truth, 0.5))
            scores.append(own.scores)
        value = np.concatenate(scores)
        order = np.argsort(-value)
        good = np.cumsum(np.concatenate(right)[order])
        f1 = 2 * good / (np.arange(1, len(good) + 1) + max(total, 1))
        table[name] = round(float(value[order][int(f1.argmax())]), 3) if len(f1) else 0.3
    return table


def export(head: Head, projection: dict[str, Any], folder: Path) -> None:
    """Write the network with its projection as ONNX, weights stored in float16."""
    import onnx

    whole = Whole(head, projection).eval()
    side = 2 * ALIGN
    maps = tuple(torch.zeros(1, level.channels, side // level.stride, side // level.stride) for level in LEVELS)
    names = [level.name for level in LEVELS]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / GRAPH
    axes = {name: {2: f"{name}_h", 3: f"{name}_w"} for name in names} | {
        name: {2: "rows", 3: "cols"} for name in ("scores", "sides")
    }
    torch.onnx.export(
        whole, maps, str(file), input_names=names, output_names=["scores", "sides"], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(str(file))
    halve(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def write_card(folder: Path, names: Sequence[str], thresholds: dict[str, float], about: dict[str, Any]) -> None:
    """``config.json``: classes, thresholds, digest, encoder and figures."""
    digest = file_digest(folder / GRAPH)
    card = {
        "name": "mini-ground", "classes": list(names), "thresholds": thresholds,
        "encoder": DenseEncoder().fingerprint, "sha256": {GRAPH: digest}, **about,
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def as_predictions(found: dict[str, Detections], names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections in COCO's results form, boxes as x, y, width, height."""
    return [
        {
            "image_id": key,
            "category": names[label],
            "bbox": [round(float(v), 2) for v in (x0, y0, x1 - x0, y1 - y0)],
            "score": round(float(score), 4),
        }
        for key, d in found.items()
        for (x0, y0, x1, y1), score, label in zip(d.boxes, d.scores, d.labels, strict=True)
    ]


def cross_validate(
    cells: Cells, rows: Rows, names: Sequence[str], views: int, recipe: Recipe, folds: Iterable[int], run: Path
) -> dict[str, Detections]:
    """What the network of each fold finds in the pictures that it has not seen; kept in ``run``, so that it goes on."""
    dealt = fold_of(rows, FOLDS)
    found: dict[str, Detections] = {}
    for fold in folds:
        kept = run / f"fold{fold}.npz"
        tested = [row for row, own in zip(rows, dealt, strict=True) if own == fold]
        if not kept.exists():
            learned = [row for row, own in zip(rows, dealt, strict=True) if own != fold]
            head = train(cells, learned, len(names), views, recipe, lambda line, f=fold: _say({"fold": f, **line}))
            own = {row.key: found_in(head, cells, row) for row in tested}
            np.savez(kept, **{f"{k}.{n}": getattr(d, n) for k, d in own.items() for n in ("boxes", "scores", "labels")})
        stored = caching.read(kept)
        for row in tested:
            found[row.key] = Detections(*(stored[f"{row.key}.{n}"] for n in ("boxes", "scores", "labels")))
        table = precision_of(tested, {row.key: found[row.key] for row in tested}, names)
        _say({"fold": fold, "AP50": {k: round(v, 3) for k, v in table.items()}})
    return found


def _say(line: dict[str, Any]) -> None:
    print(json.dumps({k: round(v, 1) if k == "s" else v for k, v in line.items()}), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.detector", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with vhr10.zip and ucm_captions.zip")
    parser.add_argument("--cache", type=Path, required=True, help="maps and folds; about 10 MB a picture and view")
    parser.add_argument("--out", type=Path, help="where head.onnx and config.json of a network of all pictures go")
    parser.add_argument("--fold", default="all", help=f"0 to {FOLDS - 1}, several as 0,1, all, or none")
    parser.add_argument("--views", type=int, default=1, help="of each picture: as it is, and turned")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--workers", type=int, default=1, help="processes that compute maps")
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except RsragError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(given: argparse.Namespace) -> int:
    names, rows = caching.read_coco(given.data / "vhr10.zip")
    cache = given.cache / DenseEncoder().fingerprint.replace(":", "-")
    projection = caching.fill(
        given.data / "vhr10.zip", rows, given.views, given.data / "ucm_captions.zip", cache, given.workers
    )
    recipe = Recipe(epochs=given.epochs, mined=tuple(n for n in Recipe().mined if n < given.epochs))
    run = cache / f"folds-{given.views}-{given.epochs}"
    run.mkdir(parents=True, exist_ok=True)
    cells = Cells(cache)
    folds = {"all": list(range(FOLDS)), "none": []}.get(given.fold) or [
        int(n) for n in given.fold.split(",") if n.isdigit()
    ]
    found = cross_validate(cells, rows, names, given.views, recipe, folds, run)
    tested = [row for row in rows if row.key in found]
    about: dict[str, Any] = {"trained_on": "NWPU VHR-10, all 520 pictures; projection: UC Merced train, no labels"}
    thresholds = dict.fromkeys(names, 0.3)
    if tested:
        (run / "predictions.json").write_text(json.dumps(as_predictions(found, names)), encoding="utf-8")
        thresholds = best_thresholds(tested, found, names)
        figures = {str(t): precision_of(tested, found, names, t) for t in (0.5, 0.7)}
        about["cross_validated"] = {
            "folds": len(folds),
            "pictures": len(tested),
            **{f"AP{round(float(t) * 100)}": {k: round(v, 4) for k, v in f.items()} for t, f in figures.items()},
        }
        print(json.dumps(about["cross_validated"], indent=1), flush=True)
    if given.out is not None:
        kept, head = run / "all.pt", Head(len(names))
        if not kept.exists():
            torch.save(train(cells, rows, len(names), given.views, recipe, _say).state_dict(), kept)
        head.load_state_dict(torch.load(kept, weights_only=True))
        export(head.eval(), projection, given.out)
        write_card(given.out, names, thresholds, about)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
