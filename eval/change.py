"""Suite "change": masks, counts, places and yes-or-no answers on labelled pairs, every detector beside plain CVA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context
from rsrag.adapters.change import Change, ChangeRequest, ChangeResult
from rsrag.adapters.change.compare import MIN_PIXELS, cleaned
from rsrag.adapters.change.describe import CELL_NAMES, CELL_SHARE, caption, places
from rsrag.adapters.change.thresholds import Histogram, otsu
from rsrag.errors import UsageError
from rsrag.eval.datasets.change_pairs import StoredPair, altered, digest, find_captioned, find_pairs, read_captions
from rsrag.eval.reports.page import DetailedResult
from rsrag.models.base import Picture
from rsrag.progress import Progress, Silent

SUITE = "change"
PLAIN = "CVA + Otsu, plain"
METHODS = ("cva", "irmad", "features", "combined")
MOST_PICTURES = 7
"""Pictures that are altered, spread over the pairs."""
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Tally:
    """Counts of one method over pairs.

    Attributes:
        pixels: true positives, false positives, false negatives.
        answers: (said changed, is changed) of every pair.
        counts: (said, true) numbers of changed areas.
        cells: true positives, false positives, false negatives over the nine cells.
        jaccard: of the cells of every pair; None where both are empty.
    """

    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, dtype=np.int64))
    answers: list[tuple[bool, bool]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    cells: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, dtype=np.int64))
    jaccard: list[float | None] = field(default_factory=list)

    def add(self, mask: Mask, truth: Mask, *, count: int, cells: Sequence[str]) -> None:
        """One pair: its masks, and what was said of it."""
        self.pixels += confusion(mask, truth)
        self.answers.append((count > 0, bool(truth.any())))
        self.counts.append((count, areas(truth)))
        said, real = set(cells), set(true_cells(truth))
        self.cells += (len(said & real), len(said - real), len(real - said))
        self.jaccard.append(len(said & real) / len(said | real) if said | real else None)

    def figures(self) -> dict[str, float]:
        """All figures of the method."""
        found = prf(self.pixels)
        found["iou"] = float(self.pixels[0] / max(1, self.pixels.sum()))
        said, real = np.array(self.answers, dtype=np.bool_).T
        found["binary_accuracy"] = float(np.mean(said == real))
        found["binary_f1"] = prf(confusion(said, real))["f1"]
        differences = np.array([a - b for a, b in self.counts], dtype=np.float64)
        found["count_mae"] = float(np.abs(differences).mean())
        found["cells_f1"] = prf(self.cells)["f1"]
        found["cells_jaccard"] = float(np.mean([1.0 if j is None else j for j in self.jaccard]))
        found["cells_jaccard_empty_0"] = float(np.mean([0.0 if j is None else j for j in self.jaccard]))
        return found


def confusion(mask: Mask, truth: Mask) -> npt.NDArray[np.int64]:
    """True positives, false positives and false negatives."""
    return np.array([(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()], dtype=np.int64)


def prf(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    """Precision, recall and F1; 0 where nothing was found and nothing was there to be found."""
    tp, fp, fn = (float(v) for v in counts)
    return {
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tp / (tp + fn) if tp + fn else 0.0,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
    }


def areas(truth: Mask) -> int:
    """Connected changed areas of at least :data:`MIN_PIXELS` pixels (4-neighbours), as the adapter counts them."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8), connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] >= MIN_PIXELS).sum())


def true_cells(truth: Mask) -> tuple[str, ...]:
    """Cells of the 3×3 grid in which the label has change, by the rule that the adapter's answers follow."""
    height, width = truth.shape
    rows, cols = 3 * np.arange(height) // height, 3 * np.arange(width) // width
    shares = [float(truth[np.ix_(rows == r, cols == c)].mean()) for r in range(3) for c in range(3)]
    least = min(CELL_SHARE, max(shares))
    return tuple(name for name, share in zip(CELL_NAMES, shares, strict=True) if share >= least and share > 0)


def plain_cva(before: Picture, after: Picture) -> Mask:
    """The baseline: length of the colour difference and Otsu's line, nothing else."""
    length = np.linalg.norm(before.astype(np.float32) - after.astype(np.float32), axis=2)
    histogram = Histogram(442.0)
    histogram.add(length.astype(np.float32))
    return np.asarray(length > otsu(histogram))


def run(
    data: Sequence[Path],
    context: Context,
    *,
    methods: Sequence[str] = METHODS,
    captions: Path | None = None,
    invariance: bool = False,
    cross_validate: bool = False,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure on labelled pairs. One pair is in memory at a time, but with ``cross_validate`` all are.

    Args:
        data: folders or zip files with ``A/``, ``B/`` and ``label/``; see
            :func:`rsrag.eval.datasets.change_pairs.find_pairs`.
        context: models.
        methods: detectors of the adapter.
        captions: JSON list of {id, captions}: the short sentences are scored against them, on the pairs that
            :mod:`rsrag.eval.datasets.change_pairs` finds by id in ``data``, labelled or not. Where no pair is labelled
            only the sentences are measured.
        invariance: also measure false changes on the same picture twice, altered.
        cross_validate: also train the network without each fold of pairs, and measure it on them; needs torch.
        progress: told of pairs.

    Raises:
        UsageError: no labelled pairs, or an unknown method.
    """
    progress = progress or Silent()
    if unknown := set(methods) - set(METHODS):
        raise UsageError(f"no method {sorted(unknown)[0]!r}", hint=f"of {', '.join(METHODS)}")
    labels = captions is None or invariance or cross_validate
    pairs = [pair for path in data for pair in find_pairs(path, needed=labels or not find_captioned(path))]
    captioned = [] if captions is None else _captioned(data, captions)
    if not pairs:
        told = _sentences(captioned, methods[-1], context)
        return DetailedResult(SUITE, told["figures"], {methods[-1]: told["figures"]}, {"pairs": 0, "sentences": told})
    share, seen = _looked_through(pairs)
    tallies = {name: Tally() for name in (PLAIN, *methods)}
    progress.start("pairs", len(pairs) * (1 + len(methods)), unit="runs")
    for stored in pairs:
        pair = stored.read()
        mask = plain_cva(pair.before, pair.after)
        tallies[PLAIN].add(mask, pair.changed, count=areas(mask), cells=true_cells(mask))
        progress.advance()
        for method in methods:
            result = compared(pair.before, pair.after, method, context)
            found = result.layers[0].read() == 1
            tallies[method].add(found, pair.changed, count=result.count, cells=places(result))
            progress.advance()
    progress.finish()
    rows: dict[str, Mapping[str, float]] = {name: tally.figures() for name, tally in tallies.items()}
    details: dict[str, Any] = {"pairs": len(pairs), "changed pixels": f"{100 * share:.1f} %"}
    if cross_validate:
        rows["combined, cross-validated"] = _cross_validated(pairs)
    if seen and "combined" in methods:
        details["LEAKED"] = f"{seen} of {len(pairs)} pairs were in the training of the network that “combined” uses"
    if captions is not None:
        details["sentences"] = _sentences(captioned, methods[-1], context)
    tables = {"False changes on unchanged ground": _invariance(pairs, methods, context, progress)} if invariance else {}
    best = rows.get("combined, cross-validated") or rows[methods[-1]]
    return DetailedResult(SUITE, best, rows, details, tables, tuple(tables))


def compared(before: Picture, after: Picture, method: str, context: Context, *, kinds: bool = False) -> ChangeResult:
    """One pair of pictures through the adapter."""
    request = ChangeRequest(images=(before, after), method=method, kinds=kinds)  # type: ignore[arg-type]
    return Change().run(request, context)


def _looked_through(pairs: Sequence[StoredPair]) -> tuple[float, int]:
    """Mean share of changed pixels, and how many of the pairs the shipped network was trained on.

    Every pair is read once before the work begins, so that a damaged one is told at once.
    """
    known = _trained_on()
    shares, seen = [], 0
    for stored in pairs:
        pair = stored.read()
        shares.append(pair.changed.mean())
        seen += digest(pair) in known
    return float(np.mean(shares)), seen


def _trained_on() -> frozenset[str]:
    """Digests of the pairs that the shipped network was trained on."""
    import json

    from rsrag.models.changehead import SHIPPED

    try:
        return frozenset(json.loads((SHIPPED / "config.json").read_text(encoding="utf-8")).get("pair_digests", ()))
    except (OSError, ValueError):
        return frozenset()


def _cross_validated(stored: Sequence[StoredPair]) -> dict[str, float]:
    try:
        from rsrag.train.change import held_out
    except ImportError as error:
        from rsrag.errors import MissingExtra

        raise MissingExtra("cross-validation", extra="train", package=error.name) from error
    pairs = [pair.read() for pair in stored]
    maps = held_out(pairs)
    tally = Tally()
    for pair, probability in zip(pairs, maps, strict=True):
        mask = cleaned(probability > 0.5, MIN_PIXELS, fill=False)
        tally.add(mask, pair.changed, count=areas(mask), cells=true_cells(mask))
    return tally.figures()


def _captioned(data: Sequence[Path], captions: Path) -> list[tuple[str, StoredPair, list[str]]]:
    """Id, pair and sentences of what the file of captions speaks of; known before the work begins."""
    sentences = read_captions(captions)
    found: dict[str, StoredPair] = {}
    for stored in (pair for path in data for pair in find_captioned(path)):
        identity = stored.name.split("/")[-1]
        if identity in sentences and stored.pictures() is not None:
            found[identity] = stored
    told = [(key, found[key], texts) for key, texts in sentences.items() if key in found]
    if not told:
        raise UsageError(f"{captions.name}: none of its ids is a pair in the data", hint="ids are names of files in A/")
    return told


def _sentences(captioned: Sequence[tuple[str, StoredPair, list[str]]], method: str, context: Context) -> dict[str, Any]:
    """Scores of the short sentences, and the sentences themselves, by id."""
    from rsrag.eval.metrics.captions import caption_figures

    said, references = {}, []
    for identity, stored, sentences in captioned:
        if (pictures := stored.pictures()) is not None:
            said[identity] = caption(compared(*pictures, method, context, kinds=True))
            references.append(sentences)
    return {"figures": caption_figures(list(said.values()), references), "said": said}


# --- robustness: the same ground twice ---

ALTERATIONS: dict[str, tuple[str, float]] = {
    "shift 1 px": ("shift", 1.0), "shift 2 px": ("shift", 2.0), "shift 3 px": ("shift", 3.0),
    "gamma 0.7": ("gamma", 0.7), "gamma 1.4": ("gamma", 1.4), "blur 1 px": ("blur", 1.0), "blur 2 px": ("blur", 2.0),
    "noise 5": ("noise", 5.0), "noise 15": ("noise", 15.0),
}  # fmt: skip


def _invariance(
    pairs: Sequence[StoredPair], methods: Sequence[str], context: Context, progress: Progress
) -> list[dict[str, Any]]:
    """Share of pixels falsely called changed, by alteration and method, in percent."""
    chosen = range(0, len(pairs), max(1, len(pairs) // MOST_PICTURES))[:MOST_PICTURES]
    pictures = [pair.before if number % 2 else pair.after for number in chosen for pair in [pairs[number].read()]]
    progress.start("unchanged ground", len(ALTERATIONS) * len(pictures), unit="pictures")
    table = []
    for title, (kind, amount) in ALTERATIONS.items():
        found: dict[str, list[float]] = {name: [] for name in (PLAIN, *methods)}
        for number, picture in enumerate(pictures):
            other = altered(picture, kind, amount, seed=number)
            found[PLAIN].append(float(plain_cva(picture, other).mean()))
            for method in methods:
                found[method].append(compared(picture, other, method, context).share)
            progress.advance()
        table.append({"alteration": title, **{name: round(100 * float(np.mean(v)), 2) for name, v in found.items()}})
    progress.finish()
    return table


__all__ = ["ALTERATIONS", "METHODS", "SUITE", "Tally", "compared", "run"]
