"""A picture of a run: losses and held-out measures by epoch."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(run_dir: Path, path: Path | None = None) -> Path:
    """Draw ``metrics.jsonl`` of a run.

    Args:
        run_dir: the run folder.
        path: PNG to write; ``curves.png`` in the run folder when not given.

    Returns:
        The file written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = (Path(run_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name in ("text", "instance"):
        left.plot(epochs, [row[name] for row in rows], label=f"{name} loss")
    left.set(xlabel="epoch", ylabel="nats", title="training loss")
    for name in sorted({key for row in rows for key in row if "/" in key}):
        right.plot(epochs, [row.get(name) for row in rows], label=name)
    right.set(xlabel="epoch", ylabel="share", ylim=(0, 1), title="held-out pictures")
    for axes in (left, right):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    target = path or Path(run_dir) / "curves.png"
    figure.savefig(target, dpi=110)
    return target
