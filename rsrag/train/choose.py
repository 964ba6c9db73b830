"""The choice of input size and mixture, made on pictures held out of training and on nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.errors import ConfigError
from rsrag.train.config import TrainConfig
from rsrag.train.data import load
from rsrag.train.probe import dated_views, embed, held_out_metrics, same_class_map, twin_hits, twin_views
from rsrag.train.towers import Tower

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def choose(config: TrainConfig, network: Tower, data_dir: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Measure candidates on held-out pictures.

    The size has the best mean of class, caption and place measures; the mixture the best mean of place hit@1 (over
    altered pictures, and over invented places on two dates) and same-class mean average precision, where two of them
    share a class. Held-out pictures are found again by their hash.

    Args:
        config: settings of the run.
        network: in evaluation mode.
        data_dir: where the training sets are.
        sizes: candidate input sizes in px.

    Returns:
        ``size``, ``alpha`` and the figures under ``sizes`` and ``alphas``.

    Raises:
        ConfigError: none were held out.
    """
    held = load(config.data, data_dir)
    if not held.held:
        raise ConfigError("no picture was held out of training to choose by", hint="give size and alpha yourself")
    tower, encode = network.embed_images, network.embed_texts
    by_size = {}
    for size in sizes:
        found = held_out_metrics(tower, encode, held.held, held.names, size)
        by_size[size] = {**found, "mean": float(np.mean([v for k, v in found.items() if k not in _SINGLE]))}
    best = max(by_size, key=lambda size: by_size[size]["mean"])
    counts = Counter(item.label for item in held.held if item.label)
    labelled = [item for item in held.held if counts[item.label] > 1]
    whole = embed(tower, [item.pixels for item in labelled], best) if labelled else None
    twins = [embed(tower, views, best) for views in twin_views(held.held, best, seed=1)]
    dated = [embed(tower, views, best) for views in dated_views(best)]
    by_alpha = {}
    for alpha in ALPHAS:
        place = twin_hits(twins[0], twins[1], alpha)[0]
        classes = same_class_map(whole, [item.label for item in labelled], alpha) if whole else 0.0
        dates = twin_hits(dated[0], dated[1], alpha)[0]
        mean = (place + dates) / 4 + classes / 2
        by_alpha[alpha] = {"place": place, "dates": dates, "classes": classes, "mean": mean}
    alpha = max(by_alpha, key=lambda a: by_alpha[a]["mean"])
    return {"size": best, "alpha": alpha, "sizes": by_size, "alphas": by_alpha}


_SINGLE = ("twin@1/0", "twin@1/1")
