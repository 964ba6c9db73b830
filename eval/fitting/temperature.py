"""Temperature of ``classify``, on held-out pictures: ``python -m rsrag.eval.fitting.temperature CONFIG [DATA]``.

CONFIG is the training configuration of the image tower (``rsrag/train/configs/mini.toml``), whose held-out share was
never trained on. One temperature serves all label sets: the one under which the true classes of the held-out pictures
are likeliest, every set weighing the same. Each picture is seen as it is and ``--altered`` times as another acquisition
would show it: what users ask about is never quite like what was trained on, and a temperature fitted on undisturbed
pictures alone makes a classifier too sure there (Tomani et al., CVPR 2021). UC Merced is left out by default: its
held-out pictures show the scenes of its training pictures. The ``val`` splits are only measured.
``--write`` keeps the temperature beside the weights. ``loss`` is in nats; between numbers of
turns it decides.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.config import Settings
from rsrag.eval.metrics import scores as metrics
from rsrag.models.base import ImageEncoder
from rsrag.models.calibration import SHIPPED, bank_vectors, softmax
from rsrag.models.registry import load_profile
from rsrag.models.turns import vectors_of
from rsrag.train.augment import QUERY, Picture, damage, recolour, warp
from rsrag.train.config import load_config
from rsrag.train.data import Item, class_names, load, read_source
from rsrag.train.prompts import TEMPLATES

_GRID = np.geomspace(0.005, 0.2, 120)


Scored = tuple[metrics.Floats, metrics.Ints]
"""Cosines [N, C] with the classes of the pictures' own set, and the right column of each."""


def scored(
    encoder: ImageEncoder, items: list[Item], names: dict[str, list[str]], turns: int, *, altered: int = 0
) -> Scored:
    """Cosines of pictures, as they are or (with ``altered``) of that many altered views of each."""
    classes = sorted({item.label for item in items})
    vectors = bank_vectors(encoder.encode_words, [[names[key][0]] for key in classes], TEMPLATES)
    rng = np.random.default_rng(0)
    pictures = [item.pixels for item in items]
    if altered:
        pictures = [another_acquisition(picture, rng) for _ in range(altered) for picture in pictures]
    parts = [vectors_of(encoder, pictures[i : i + 64], turns) for i in range(0, len(pictures), 64)]
    truth = np.array([classes.index(item.label) for item in items] * max(1, altered), dtype=np.int64)
    return np.concatenate(parts) @ vectors.T, truth


def another_acquisition(picture: Picture, rng: np.random.Generator) -> Picture:
    """The ground of a picture turned, cropped a little and in other colours, uint8 [S, S, 3]."""
    seen = warp(picture, min(picture.shape[:2]), QUERY, rng)
    return damage(recolour(seen, QUERY, rng), QUERY, rng)


def likeliest(sets: list[Scored]) -> float:
    """The temperature under which the true classes are likeliest, every set weighing the same."""
    losses = [np.mean([loss(*one, temperature) for one in sets]) for temperature in _GRID]
    return round(float(_GRID[int(np.argmin(losses))]), 4)


def loss(scores: metrics.Floats, truth: metrics.Ints, temperature: float) -> float:
    """Mean negative log-likelihood of the true classes, nats."""
    likely = softmax(scores, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(likely, 1e-12)).mean())


def calibration_error(scores: metrics.Floats, truth: metrics.Ints, temperature: float) -> dict[str, float]:
    """Top-1 and expected calibration error, over 15 bins of equal width and over 10 of equal mass, per cent."""
    likely = softmax(scores, temperature)
    sure, right = likely.max(axis=1), likely.argmax(axis=1) == truth
    order = np.argsort(sure, kind="stable")
    mass = [abs(sure[part].mean() - right[part].mean()) * len(part) for part in np.array_split(order, 10)]
    return {
        "top1": 100 * float(right.mean()),
        "ece_width": metrics.ece(metrics.reliability(sure, right)),
        "ece_mass": 100 * float(sum(mass) / len(truth)),
    }


def if_calibrated(scores: metrics.Floats, temperature: float, found: float, draws: int = 2000) -> dict[str, float]:
    """What equal-width calibration error a model has that is right exactly as often as it says, on as many pictures.

    Args:
        scores: cosines [N, C].
        temperature: that makes confidences of them.
        found: the error that was measured, per cent.
        draws: how often right and wrong are drawn anew.

    Returns:
        ``mean`` of the error, per cent, and ``share_above``, of the draws at or above what was found.
    """
    sure = softmax(scores, temperature).max(axis=1)
    rng = np.random.default_rng(0)
    errors = np.array([metrics.ece(metrics.reliability(sure, rng.random(len(sure)) < sure)) for _ in range(draws)])
    return {"mean": float(errors.mean()), "share_above": float((errors >= found).mean())}


def fit(config_path: Path, data: Path, turns: int, without: list[str], altered: int) -> dict[str, Any]:
    """The temperature, and what it gives on held-out and ``val`` pictures of every set."""
    config = load_config(config_path).data
    plain = replace(config, mosaic=replace(config.mosaic, crops=0), landscape=replace(config.landscape, crops=0))
    held = load(plain, data)
    encoder = load_profile(Settings()).image
    sets: dict[str, Scored] = {}
    fitted: list[Scored] = []
    for name in sorted({item.source for item in held.held}):
        items = [item for item in held.held if item.source == name and item.label]
        if not items:
            continue
        sets[name] = scored(encoder, items, held.names, turns)
        if name not in without:
            fitted.append(sets[name])
            if altered:
                fitted.append(scored(encoder, items, held.names, turns, altered=altered))
    temperature = likeliest(fitted)
    result: dict[str, Any] = {
        "fingerprint": encoder.fingerprint,
        "temperature": temperature,
        "loss": round(float(np.mean([loss(*one, temperature) for one in fitted])), 4),
        "turns": turns,
        "altered": altered,
        "without": without,
    }
    result["held_out"] = {name: calibration_error(*one, temperature) for name, one in sets.items()}
    result["val"] = {}
    for source in plain.sources:
        items = [item for item in read_source(replace(source, split="val"), data) if item.label]
        one = scored(encoder, items, class_names([source], items, data), turns)
        found = calibration_error(*one, temperature)
        drawn = if_calibrated(one[0], temperature, found["ece_width"])
        result["val"][Path(source.path).stem] = {**found, "ece_width_if_calibrated": drawn}
    return result


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=Path(os.environ.get("RSRAG_DATA", "../shared/data")))
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--altered", type=int, default=3, help="altered views of each held-out picture")
    parser.add_argument("--without", nargs="*", default=["ucm_captions"], metavar="SET")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    found = fit(options.config, options.data, options.turns, options.without, options.altered)
    print(json.dumps(found, indent=1))
    if options.write:
        kept = json.loads(SHIPPED.read_text(encoding="utf-8"))["temperatures"] if SHIPPED.is_file() else {}
        image = str(found["fingerprint"]).split(":")[0]
        others = {name: value for name, value in kept.items() if name.split(":")[0] != image}
        table = {"temperatures": {**others, found["fingerprint"]: found["temperature"]}, "measured": found}
        SHIPPED.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
