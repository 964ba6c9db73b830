"""A picture of a run: losses and held-out measures by epoch."""

from __future__ import annotations

import json
from pathlib import Path

_LOSSES = ("text", "class", "instance")


def draw_curves(run_dir: Path, path: Path | None = None) -> Path:
    """Draw ``metrics.jsonl`` of a run. Losses that are nothing throughout are left out.

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
    marker = "o" if len(rows) < 10 else ""
    for name in _LOSSES:
        values = [row.get(name, 0.0) for row in rows]
        if any(values):
            left.plot(epochs, values, label=f"{name} loss", marker=marker)
    left.set(xlabel="epoch", ylabel="nats", title="training loss")
    for name in sorted({key for row in rows for key in row if "/" in key}):
        right.plot(epochs, [row.get(name) for row in rows], label=name, marker=marker)
    right.set(xlabel="epoch", ylabel="share", ylim=(0, 1.02), title="held-out pictures")
    for axes in (left, right):
        if axes.lines:
            axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    target = path or Path(run_dir) / "curves.png"
    figure.savefig(target, dpi=110)
    return target
