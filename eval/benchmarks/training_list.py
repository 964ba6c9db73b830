"""Memory and time of a list of training pictures: ``python eval/benchmarks/training_list.py --samples 200000``.

Shards are written in the layout of RS5M, every sample a picture of 9 x 8 px unlike all others with a caption of its own
of 100 characters. The list is then made twice in processes of their own, with a budget that no picture fits: the
second time what the first one found lies in the cache.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SHARD = 10_000
"""Samples a shard, as in RS5M."""


def bitmap(number: int) -> bytes:
    """A grey picture of 9 x 8 px that no other number has."""
    grey = np.random.default_rng(number).integers(0, 256, (8, 9), dtype=np.uint8)
    rows = b"".join(line.repeat(3).tobytes() + b"\x00" for line in grey)
    about = struct.pack("<IiiHHIIiiII", 40, 9, 8, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + about + rows


def caption(number: int) -> str:
    """A sentence of 100 characters."""
    return f"picture {number:09d} of the list shows fields, a river and the houses of a village along its banks".ljust(
        100, "."
    )


def write_shards(folder: Path, samples: int) -> str:
    """Write the shards; returns the pattern that names them."""
    count = -(-samples // SHARD)
    for shard in range(count):
        with tarfile.open(folder / f"pub11-train-{shard:04d}.tar", "w") as archive:
            for number in range(shard * SHARD, min(samples, (shard + 1) * SHARD)):
                for ending, data in (("img_content", bitmap(number)), ("caption", caption(number).encode())):
                    info = tarfile.TarInfo(f"{number:09d}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return f"pub11-train-{{0000..{count - 1:04d}}}.tar"


def memory(field: str) -> float:
    """A figure of this process in MB: ``VmRSS`` now, ``RssAnon`` without mapped files, ``VmHWM`` at most so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def measure(folder: Path, pattern: str) -> dict[str, Any]:
    """Make the list in this process: seconds by the clock and of the processor, MB taken now and at most."""
    from rsrag.train.config import parse_config
    from rsrag.train.data import load

    source = {"path": pattern, "kind": "webdataset", "name": "rs5m"}
    config = parse_config({"data": {"sources": [source], "memory_mb": 0, "workers": 2, "holdout": 0.01}})
    before_own = memory("RssAnon")
    before, begun, used = memory("VmRSS"), time.monotonic(), time.process_time()
    data = load(config.data, folder)
    seconds, used = time.monotonic() - begun, time.process_time() - used
    peak = memory("VmHWM")
    gc.collect()
    return {
        "samples": len(data.train) + len(data.held),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "mb": round(memory("VmRSS") - before, 1),
        "mb_not_mapped": round(memory("RssAnon") - before_own, 1),
        "peak_mb": round(peak - before, 1),
    }


def in_a_process(folder: Path, pattern: str) -> dict[str, Any]:
    """:func:`measure` in a process of its own, whose cache lies in the folder too."""
    command = [sys.executable, __file__, "--measure", str(folder), pattern]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    per_sample = {f"{key}_bytes_a_sample": round(found[key] * 2**20 / found["samples"]) for key in ("mb", "peak_mb")}
    return {**found, **per_sample}


def run(samples: int, folder: Path) -> dict[str, Any]:
    """Write shards into a folder and measure them twice."""
    pattern = write_shards(folder, samples)
    return {"first": in_a_process(folder, pattern), "again": in_a_process(folder, pattern)}


def main(arguments: list[str]) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the shards are written; default: a temporary folder")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "PATTERN"), help="measure shards that are there")
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(measure(Path(given.measure[0]), given.measure[1])))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print(json.dumps({"suite": "training-list", "metrics": run(given.samples, Path(folder))}))


if __name__ == "__main__":
    main(sys.argv[1:])
