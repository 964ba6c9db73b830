"""Peak memory of the tasks against the size of the scene: ``python eval/benchmarks/task_memory.py [--task classify]``.

Two rasters of real pixel values are written block by block (:mod:`ingest_memory`), the larger with sixteen times the
pixels. Each task runs on both in a process of its own, and writes its rasters. Peak resident memory is what the
operating system says of the finished process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from ingest_memory import write_raster  # type: ignore[import-not-found]  # a script beside this one
from rasterio.windows import Window

TASKS: dict[str, tuple[list[str], str]] = {
    "classify": (["--labels", "water,forest,farmland,town", "--map"], "tif"),
    "segment": (["water"], "tif"),
    "decoder": (["buildings", "--method", "decoder"], "tif"),
    "ground": (["storage tanks"], "geojson"),
    "caption": ([], "html"),
    "change": (["{later}"], "tif"),
}
"""What follows the image on the command line, and the form of the output; ``{later}`` is a second date of it."""
VERBS = {"decoder": "segment"}
"""Commands of tasks that are not called like theirs."""


def write_later(raster: Path) -> Path:
    """A copy of a raster, ten years later, with a block in its middle painted over."""
    later = raster.with_name(f"{raster.stem}-later.tif")
    shutil.copy(raster, later)
    with rasterio.open(later, "r+") as target:
        target.update_tags(ACQUISITION_DATE="2020-06-01")
        side = target.width // 20
        part = Window(target.width // 2, target.height // 2, side, side)
        target.write(np.full((target.count, side, side), 230, dtype=target.dtypes[0]), window=part)
    return later


def measured(task: str, raster: Path, out: Path) -> tuple[float, float]:
    """Peak resident memory in MB and seconds of one task on a raster."""
    words, ending = TASKS[task]
    later = raster.with_name(f"{raster.stem}-later.tif")
    if any("{later}" in word for word in words) and not later.exists():
        write_later(raster)
    extra = [word.format(later=later) for word in words]
    verb = VERBS.get(task, task)
    command = [sys.executable, "-m", "rsrag", verb, str(raster), *extra, "-o", str(out.with_suffix(f".{ending}"))]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=out.parent) as process:
        assert process.stderr is not None
        told = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(told.decode())
    return usage.ru_maxrss / 1024, time.perf_counter() - begun


def main() -> None:
    """Write the rasters, run the tasks on them, print peaks and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=2_500)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--task", action="append", choices=sorted(TASKS), help="repeat; all by default")
    arguments = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side in (arguments.small, arguments.large):
            write_raster(root / f"{side}.tif", side)
        for task in arguments.task or sorted(TASKS):
            peaks = {}
            for side in (arguments.small, arguments.large):
                peak, seconds = measured(task, root / f"{side}.tif", root / f"{task}-{side}")
                peaks[side] = peak
                print(f"{task}: {side}² pixels, peak {peak:.0f} MB, {seconds:.0f} s", file=sys.stderr)
            ratio = peaks[arguments.large] / peaks[arguments.small]
            result[task] = {"peak_mb": round(peaks[arguments.large]), "large / small": round(ratio, 3)}
    print(json.dumps({"suite": "task-memory", "metrics": result}))


if __name__ == "__main__":
    main()
