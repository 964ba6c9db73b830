"""Peak memory of an ingest against the size of the raster: ``python eval/benchmarks/ingest_memory.py``.

Two rasters of real pixel values are written block by block, the larger with sixteen times the pixels. Both are ingested
by the command line in a process of its own, with the same number of tiles (the larger one at a scale four times as
coarse), and the larger one also whole. Peak resident memory is what the operating system says of the finished process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from rasterio.windows import Window

BLOCK = 512


def write_raster(path: Path, side: int) -> None:
    """A tiled RGB GeoTIFF of ``side`` × ``side`` pixels with texture at several scales, 10 m a pixel in UTM."""
    rng = np.random.default_rng(side)
    stamp = rng.integers(0, 60, (3, BLOCK, BLOCK), dtype=np.uint8)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32631",
        "transform": from_origin(300_000, 5_400_000, 10, 10), "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK,
        "compress": "deflate", "zlevel": 1, "photometric": "RGB",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        for row in range(0, side, BLOCK):
            for col in range(0, side, BLOCK):
                height, width = min(BLOCK, side - row), min(BLOCK, side - col)
                level = rng.integers(20, 180, (3, 8, 8), dtype=np.uint8).repeat(BLOCK // 8, 1).repeat(BLOCK // 8, 2)
                target.write((level + stamp)[:, :height, :width], window=Window(col, row, width, height))


def peak_mb(raster: Path, workspace: Path, scales: str) -> tuple[float, int]:
    """Peak resident memory in MB and the number of tiles of one ingest."""
    command = [sys.executable, "-m", "rsrag", "-w", str(workspace), "ingest", str(raster), "--scales", scales, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024, int(summary["tiles"])


def main() -> None:
    """Write the rasters, ingest them in turn, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=5_000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="also ingest the large raster at its full resolution")
    arguments = parser.parse_args()
    factor = arguments.large // arguments.small
    cases = {"small": (arguments.small, "1"), "large": (arguments.large, str(factor))}
    if arguments.whole:
        cases["large, every pixel"] = (arguments.large, "1")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side in {side for side, _ in cases.values()}:
            write_raster(root / f"{side}.tif", side)
        peaks: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(arguments.rounds):
            for name, (side, scales) in cases.items():
                peak, tiles = peak_mb(root / f"{side}.tif", root / f"{number}-{name}.rsrag", scales)
                peaks[name].append(peak)
                print(f"{name}: {side}² pixels, {tiles} tiles, peak {peak:.0f} MB", file=sys.stderr)
    medians = {name: float(np.median(values)) for name, values in peaks.items()}
    ratios = {f"{name} / small": round(medians[name] / medians["small"], 3) for name in cases if name != "small"}
    print(json.dumps({"suite": "ingest-memory", "metrics": ratios, "peak_mb": medians}))


if __name__ == "__main__":
    main()
