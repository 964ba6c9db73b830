"""Where to draw the line of CVA and IR-MAD: Otsu, Kapur and the chi-square quantile, on labelled and unchanged pairs.

``python eval/benchmarks/change_lines.py PAIRS`` prints F1 over all pixels of the labelled pairs, and the share of
pixels falsely called changed where each earlier date is compared with itself in other light and noise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.change import detect, thresholds
from rsrag.adapters.change.pair import opened_pair
from rsrag.adapters.change.statistics import sample
from rsrag.config import Settings
from rsrag.eval.datasets.change_pairs import altered, read_pairs
from rsrag.models.base import Picture
from rsrag.models.registry import load_profile
from rsrag.progress import Silent
from rsrag.types import Window

Lines = dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]


def masks(before: Picture, after: Picture, method: detect.Method, context: Context) -> Lines:
    """Raw masks by line."""
    with opened_pair(before, after, context) as pair:
        found = detect.prepare(method, pair, sample(pair, mask_clouds=False, progress=Silent()), None, None)
        magnitude = found.magnitude(*pair.read(Window(0, 0, pair.subject.width, pair.subject.height)))
    counts = found.histogram()
    counts.add(magnitude)
    otsu, kapur, least = thresholds.otsu(counts), thresholds.kapur(counts), found.least()
    lines = {"otsu": otsu, "kapur": kapur, "chi-square": least, "larger of otsu and chi-square": max(otsu, least)}
    return {name: magnitude > line for name, line in lines.items()}


def main() -> None:
    """Print both tables."""
    settings = Settings()
    context = Context(load_profile(settings), settings)
    pairs = read_pairs(Path(sys.argv[1]))
    methods: tuple[detect.Method, ...] = ("cva", "irmad")
    for method in methods:
        counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        false: dict[str, list[float]] = {}
        for number, pair in enumerate(pairs):
            for name, mask in masks(pair.before, pair.after, method, context).items():
                truth = pair.changed
                seen = np.array([(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()])
                counts[name] = counts.get(name, np.zeros(3, dtype=np.int64)) + seen
            same = altered(altered(pair.before, "gamma", 0.8, seed=number), "noise", 6.0, seed=number)
            for name, mask in masks(pair.before, same, method, context).items():
                false.setdefault(name, []).append(float(mask.mean()))
        for name, found in counts.items():
            tp, fp, fn = (int(v) for v in found)
            wrong = 100 * float(np.mean(false[name]))
            print(f"{method:8}{name:34}F1 {2 * tp / max(2 * tp + fp + fn, 1):.3f}   false {wrong:6.2f} %")


if __name__ == "__main__":
    main()
