"""Train the pixel decoder: ``python -m rsrag.train.pixels --data DIR --cache DIR [--folds K|all|none] [--out DIR]``.

DIR is a folder with ``vhr10.zip`` (polygons of ten kinds of things), ``drone_segmentation.zip`` (label maps of ground)
and ``ucm_captions.zip``, whose training pictures the projection of the encoder's maps is learned from, without labels.
The encoder stays as it is; its maps are computed once per view and cached in float16. Cross-validation deals groups of
pictures that may show one place to one fold, and keeps each fold's network. ``--folds flights`` leaves out one flight
of the drone at a time, the stricter question: chips of one flight look alike even where they do not overlap.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from rsrag.errors import ExitCode, RsragError, UsageError
from rsrag.eval.metrics.masks import Tally
from rsrag.ingest.enrich import pixel_digest
from rsrag.models.dense import DenseEncoder
from rsrag.models.groundviews import ALIGN, LEVELS
from rsrag.models.pixelhead import CONFIG, DIGITS, GRAPH
from rsrag.models.quantise import halve
from rsrag.models.weights import file_digest
from rsrag.train import detector_cache as maps
from rsrag.train.pixel_data import COVERS, UNKNOWN, Outlined, Shown, Views, cut, read_covers, read_things
from rsrag.train.pixel_head import STEP, PixelHead, Whole, loss

FOLDS = 5
_SETS = {"things": "NWPU VHR-10, 520 pictures", "covers": "DroneDeploy chips of two flights, 120"}
Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it is trained.

    Attributes:
        steps: of the optimiser.
        batch: crops a step.
        side: of a crop in cells.
        rate: highest learning rate (AdamW, cosine).
        decay: weight decay.
        covers: share of crops that show covers of ground, when there are both.
        dropout: share of channels of the grid hidden in a crop.
        memory: whether classes have a memory.
        views: of each picture of things.
        cover_views: of each picture of ground; there are fewer of them.
        seed: of everything random.
    """

    steps: int = 700
    batch: int = 8
    side: int = 32
    rate: float = 2e-3
    decay: float = 0.02
    covers: float = 0.4
    dropout: float = 0.1
    memory: bool = False
    views: int = 3
    cover_views: int = 10
    seed: int = 0


def train(
    views: Views, rows: Sequence[Outlined], classes: int, recipe: Recipe = Recipe(), tell: Say | None = None
) -> PixelHead:
    """A network trained on pictures.

    Args:
        views: of the pictures.
        rows: pictures.
        classes: how many.
        recipe: how.
        tell: called with a line every hundred steps.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    head = PixelHead(classes, memory=recipe.memory).to(memory_format=torch.channels_last)
    chosen = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    plan = torch.optim.lr_scheduler.OneCycleLR(chosen, recipe.rate, recipe.steps, pct_start=0.1)
    sources = sorted({row.source for row in rows})
    by_source = [[row for row in rows if row.source == source] for source in sources]
    odds = np.array([recipe.covers if source == "covers" else 1 - recipe.covers for source in sources])
    begun, losses = time.perf_counter(), []
    for step in range(recipe.steps):
        parts = []
        for _ in range(recipe.batch):
            own = by_source[int(rng.choice(len(sources), p=odds / odds.sum()))]
            row = own[int(rng.integers(len(own)))]
            many = recipe.cover_views if row.source == "covers" else recipe.views
            parts.append((cut(views.view(row, int(rng.integers(many))), recipe.side, rng), row))
        grid, picture, truth, known = batch_of(parts, classes)
        kept = torch.rand(len(grid), grid.shape[1], 1, 1) >= recipe.dropout
        light = 1 + 0.2 * torch.randn(len(grid), 1, 1, 1) * (torch.rand(len(grid), 1, 1, 1) < 0.5)
        chosen.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            out = head(grid * kept / (1 - recipe.dropout), (picture * light).clamp(0, 1))
        value = loss(out.float(), truth, known)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        chosen.step()
        plan.step()
        losses.append(float(value.detach()))
        if tell is not None and (step + 1) % 100 == 0:
            tell({"step": step + 1, "loss": round(float(np.mean(losses[-100:])), 4), "s": time.perf_counter() - begun})
    return cast(PixelHead, head.eval())


def batch_of(parts: Sequence[tuple[Shown, Outlined]], classes: int) -> tuple[torch.Tensor, ...]:
    """Grid, picture, truth and what is known of it, of crops of one size.

    The latter two are of the squares of ``STEP`` pixels a side that the network scores: the share of a square that is
    of a class, and whether all of it is known. One pixel of a square in its stead would move outlines by half a pixel.
    """
    grid = torch.from_numpy(np.stack([shown.grid for shown, _ in parts]).astype(np.float32)).permute(0, 3, 1, 2)
    picture = torch.from_numpy(np.stack([shown.picture for shown, _ in parts])).permute(0, 3, 1, 2).float() / 255
    bits = torch.from_numpy(np.stack([shown.bits for shown, _ in parts]).astype(np.int32))[:, None]
    truth = functional.avg_pool2d((bits >> torch.arange(classes)[:, None, None] & 1).float(), STEP)
    seen = functional.max_pool2d((bits & int(UNKNOWN) != 0).float(), STEP) == 0
    asked = torch.tensor([[number in row.asked for number in range(classes)] for _, row in parts])
    return grid, picture, truth, (seen & asked[:, :, None, None]).float()


@torch.no_grad()  # type: ignore[untyped-decorator]
def scores_of(head: PixelHead, views: Views, row: Outlined) -> npt.NDArray[np.float32]:
    """Scores of every class at every pixel of a picture, float32 [classes, H, W]."""
    shown = views.view(row, 0)
    grid = torch.from_numpy(np.asarray(shown.grid, dtype=np.float32)).permute(2, 0, 1)[None]
    picture = torch.from_numpy(shown.picture).permute(2, 0, 1)[None].float() / 255
    out = torch.sigmoid(head(grid, picture))
    out = functional.interpolate(out, scale_factor=float(STEP), mode="bilinear", align_corners=False)[0]
    height, width = row.bits.shape
    return np.asarray(out[:, :height, :width].numpy(), dtype=np.float32)


def fold_of(rows: Sequence[Outlined], folds: int = FOLDS, seed: int = 0) -> list[int]:
    """The fold of each picture, every source dealt by itself; pictures of one group stay together."""
    dealt: dict[str, int] = {}
    for source in sorted({row.source for row in rows}):
        groups = sorted({row.group for row in rows if row.source == source})
        for place, group in enumerate(np.random.default_rng(seed).permutation(groups).tolist()):
            dealt[group] = place % folds
    return [dealt[row.group] for row in rows]


def folds_named(text: str) -> list[int]:
    """Numbers of folds: of "0,2", "all" or "none".

    Raises:
        UsageError: no such fold.
    """
    if text in ("all", "none"):
        return list(range(FOLDS)) if text == "all" else []
    if not all(part in map(str, range(FOLDS)) for part in text.split(",")):
        raise UsageError(f"folds {text!r}", hint=f"0 to {FOLDS - 1}, several as 0,1, all, flights, or none")
    return list(map(int, text.split(",")))


def judge(
    found: Callable[[Outlined], npt.NDArray[np.float32]], rows: Sequence[Outlined], classes: Sequence[str]
) -> dict[str, Tally]:
    """Masks of the classes that pictures show, as ``rsrag eval segmentation`` asks for them, by source; and, under
    ``SOURCE, all``, of every class that is labelled in the set, whether a picture shows it or not.

    Args:
        found: scores of a picture.
        rows: pictures.
        classes: names.
    """
    tallies: dict[str, Tally] = {}
    for row in rows:
        scores = found(row)
        known = (row.bits & UNKNOWN) == 0
        for number in row.asked:
            truth = (row.bits >> number & 1).astype(bool)
            mask = np.asarray(scores[number] >= 0.5)
            for name in (row.source, f"{row.source}, all") if (truth & known).any() else (f"{row.source}, all",):
                tallies.setdefault(name, Tally()).add(classes[number], mask, truth, known)
    return tallies


def figures(tallies: dict[str, Tally]) -> dict[str, Any]:
    """Means and classes of each source."""
    return {
        source: {
            **{name: round(value, 4) for name, value in tally.figures().items()},
            "masks": len(tally.single),
            "classes": {name: round(value, 3) for name, value in sorted(tally.by_class().items())},
        }
        for source, tally in sorted(tallies.items())
    }


def export(
    head: PixelHead, projection: dict[str, Any], classes: Sequence[str], folder: Path, about: dict[str, Any]
) -> None:
    """Write the network with its projection as ONNX, weights stored in float16, and ``config.json``."""

    import onnx

    whole = Whole(head.to(memory_format=torch.contiguous_format), projection).eval()
    side = 2 * ALIGN
    given = [torch.zeros(1, 3, side, side)]
    given += [torch.zeros(1, level.channels, side // level.stride, side // level.stride) for level in LEVELS]
    names = ["picture", *(level.name for level in LEVELS)]
    axes = {name: {2: f"{name}_h", 3: f"{name}_w"} for name in [*names, "scores"]}
    folder.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        whole, tuple(given), str(folder / GRAPH), input_names=names, output_names=["scores"], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(str(folder / GRAPH))
    halve(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / GRAPH))
    digest = file_digest(folder / GRAPH)
    card = {
        "name": "mini-pixels", "classes": list(classes), "encoder": DenseEncoder().fingerprint,
        "sha256": {GRAPH: digest}, **about,
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.pixels", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the three archives")
    parser.add_argument("--cache", type=Path, required=True, help="maps and folds; about 8 MB a picture and view")
    parser.add_argument("--out", type=Path, help="where the graph and config.json of a network of all pictures go")
    parser.add_argument("--folds", default="all", help=f"0 to {FOLDS - 1}, several as 0,1, all, flights, or none")
    parser.add_argument("--sources", default="things,covers", help="things, covers, or both")
    parser.add_argument("--memory", action="store_true", help="give the classes a memory")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--views", type=int, default=Recipe().views, help="of each picture of things")
    parser.add_argument("--cover-views", type=int, default=Recipe().cover_views, help="of each chip of ground")
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except RsragError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(given: argparse.Namespace) -> int:
    recipe = Recipe(steps=given.steps, memory=given.memory, views=given.views, cover_views=given.cover_views)
    things, _ = maps.read_coco(given.data / "vhr10.zip")
    classes = (*things, *(name for name in COVERS.values() if name not in things))
    rows: list[Outlined] = []
    if "things" in given.sources:
        rows += read_things(given.data / "vhr10.zip", classes)
    if "covers" in given.sources:
        rows += read_covers(given.data / "drone_segmentation.zip", classes)
    if not rows:
        raise UsageError(f"sources {given.sources!r}", hint="things, covers or things,covers")
    cache = given.cache / DenseEncoder().fingerprint.replace(":", "-")
    projection = maps.fill(given.data / "vhr10.zip", [], 0, given.data / "ucm_captions.zip", cache)
    views = Views(cache, projection)
    kind = f"{given.sources.replace(',', '-')}-{given.steps}-{given.views}-{given.cover_views}"
    run = cache / (f"{kind}-memory" if given.memory else kind)
    run.mkdir(exist_ok=True)
    together = _cross_validated(views, rows, classes, recipe, given.folds, run)
    about: dict[str, Any] = {
        "trained_on": [_SETS[source] for source in dict.fromkeys(row.source for row in rows)],
        "projection": "UC Merced train, no labels",
        "picture_digests": sorted({pixel_digest(row.picture)[:DIGITS] for row in rows}),
    }
    if together:
        about["cross_validated"] = {"folds": given.folds, **figures(together)}
        print(json.dumps(about["cross_validated"], indent=1), flush=True)
    if given.out is not None:
        kept, head = run / "all.pt", PixelHead(len(classes), memory=given.memory)
        if not kept.exists():
            torch.save(train(views, rows, len(classes), recipe, _say).state_dict(), kept)
        head.load_state_dict(torch.load(kept, weights_only=True))
        export(head.eval(), projection, classes, given.out, about)
    return ExitCode.OK


def _cross_validated(
    views: Views, rows: Sequence[Outlined], classes: Sequence[str], recipe: Recipe, folds: str, run: Path
) -> dict[str, Tally]:
    """What the network of each fold does with the pictures that it has not seen; networks are kept in ``run``."""
    dealt: list[int] | list[str] = fold_of(rows)
    chosen: list[int] | list[str]
    if folds == "flights":
        dealt = [row.group.rpartition(" ")[0] for row in rows]
        chosen = sorted({own for own, row in zip(dealt, rows, strict=True) if row.source == "covers"})
    else:
        chosen = folds_named(folds)
    together: dict[str, Tally] = {}
    for fold in chosen:
        kept = run / f"fold-{fold}.pt"
        head = PixelHead(len(classes), memory=recipe.memory)
        if not kept.exists():
            learned = [row for row, own in zip(rows, dealt, strict=True) if own != fold]
            made = train(views, learned, len(classes), recipe, partial(_of_fold, fold))
            torch.save(made.state_dict(), kept)
        head.load_state_dict(torch.load(kept, weights_only=True))
        tested = [row for row, own in zip(rows, dealt, strict=True) if own == fold]
        tallies = judge(partial(scores_of, head.eval(), views), tested, classes)
        _say({"fold": fold, "figures": figures(tallies)})
        for source, tally in tallies.items():
            together.setdefault(source, Tally()).include(tally)
    return together


def _of_fold(fold: int | str, line: dict[str, Any]) -> None:
    _say({"fold": fold, **line})


def _say(line: dict[str, Any]) -> None:
    print(json.dumps({k: round(v, 1) if k == "s" else v for k, v in line.items()}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
