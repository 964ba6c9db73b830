"""What ingest adds to the encoder: ``python eval/benchmarks/ingest_throughput.py --model mini``.

Tiles go through the encoder alone, as prepared batches that lie in memory, and through a whole ingest into a new
workspace: opened, read, measured, embedded, indexed and committed. Both take turns; printed are the medians of tiles a
second, of the ratio of each turn, and of the processor time a tile takes, for one large raster and for a folder of
pictures of one tile each.

Where the encoder uses every core there is, all that ingest does beside it takes cores from it. ``--threads`` limits
the encoder in both cases, so that the ratio tells how well reading and writing hide behind it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rsrag
from rsrag.config import Settings
from rsrag.eval.benchmarks.ingest_memory import write_raster
from rsrag.ingest.summary import IngestOptions
from rsrag.models import runtime, towers
from rsrag.models.registry import load_profile

BATCH = 32


@dataclass(frozen=True, slots=True)
class Case:
    """Sources, and how they are read."""

    name: str
    folder: Path
    options: IngestOptions


def raster(folder: Path, tiles: int, side: int) -> Case:
    """One raster of about so many tiles."""
    folder.mkdir()
    across = max(2, round(tiles**0.5))
    write_raster(folder / "raster.tif", across * side)
    return Case("raster", folder, IngestOptions(scales="1"))


def pictures(folder: Path, tiles: int, side: int) -> Case:
    """JPEG files of one tile each, with world files."""
    import cv2

    folder.mkdir()
    rng = np.random.default_rng(0)
    drawn = runtime.drawn(side, 16)
    for number in range(tiles):
        picture = np.roll(drawn[number % 16], tuple(rng.integers(0, side, 2)), (0, 1))
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        west, north = 3 + 0.03 * (number % 40), 45 + 0.03 * (number // 40)
        (folder / f"{number:05d}.jgw").write_text(f"0.0001\n0\n0\n-0.0001\n{west}\n{north}\n", encoding="ascii")
    return Case("pictures", folder, IngestOptions(scales="1", crs="EPSG:4326"))


@dataclass(frozen=True, slots=True)
class Turn:
    """Tiles that were embedded, and the seconds and processor seconds it took."""

    tiles: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Tiles a second."""
        return self.tiles / self.seconds


def alone(encoder: Any, batches: Sequence[Any]) -> Turn:
    """The encoder by itself."""
    start, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        encoder.encode_prepared(batch)
    return Turn(sum(map(len, batches)), time.perf_counter() - start, time.process_time() - cpu)


def ingested(case: Case, workspace: Path, profile: Any, settings: dict[str, Any]) -> Turn:
    """An ingest into a new workspace; the encoder is warm already."""
    with rsrag.open(workspace, create=True, **settings) as engine:
        engine.__dict__["profile"] = profile
        _ = engine.index, engine.catalog
        start, cpu = time.perf_counter(), time.process_time()
        summary = engine.ingest([case.folder], options=case.options)
        turn = Turn(summary.tiles, time.perf_counter() - start, time.process_time() - cpu)
    if summary.errors or not summary.tiles:
        raise SystemExit(f"{case.name}: {summary.errors[:1]}")
    return turn


def told(turns: Sequence[tuple[Turn, Turn]]) -> dict[str, Any]:
    """Medians over the turns. ``cpu_ratio`` is the ratio that is left where the encoder keeps every core busy."""
    rows = [
        (a.rate, b.rate, b.rate / a.rate, a.cpu / a.tiles, b.cpu / b.tiles, (a.cpu / a.tiles) / (b.cpu / b.tiles))
        for a, b in turns
    ]
    names = ("encoder_per_s", "ingest_per_s", "ratio", "encoder_cpu_ms", "ingest_cpu_ms", "cpu_ratio")
    factors = (1, 1, 1, 1000, 1000, 1)
    medians = (np.median(column) * factor for column, factor in zip(zip(*rows, strict=True), factors, strict=True))
    return {"tiles": turns[0][1].tiles} | {
        name: round(float(value), 3) for name, value in zip(names, medians, strict=True)
    }


def profile_of(model: str, folder: Path) -> str:
    """A profile with the model, for the settings."""
    if model == "mini":
        return "mini"
    from rsrag.models.random_weights import random_clip

    row = random_clip("ViT-B-32", folder)
    path = folder / "profile.toml"
    options = json.dumps(dict(row.options)).replace(": ", " = ")
    path.write_text(
        f'text = "mini-text"\n[image]\nbackend = "open_clip"\nsource = {json.dumps(row.source)}\noptions = {options}\n',
        encoding="utf-8",
    )
    return str(path)


def main() -> None:
    """Make the sources, take turns, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("mini", "vit"), default="mini")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--tiles", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of the encoder; 0: every core")
    parser.add_argument("--case", choices=("raster", "pictures", "both"), default="both")
    arguments = parser.parse_args()
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
        towers.usable_cores = lambda: arguments.threads
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        settings = {"profile": profile_of(arguments.model, root), "runtime": arguments.runtime}
        profile = load_profile(Settings(**settings))
        encoder: Any = profile.image
        side = encoder.input_size if encoder.input_size >= 192 else 256
        makers = [make for make in (raster, pictures) if arguments.case in (make.__name__, "both")]
        seen = [encoder.prepare(picture) for picture in runtime.drawn(side, 16)] * (max(arguments.tiles, BATCH) // 16)
        batches = [np.stack(seen[i : i + BATCH]) for i in range(0, len(seen) - BATCH + 1, BATCH)]
        encoder.encode_prepared(batches[0])
        for make in makers:
            case = make(root / make.__name__, arguments.tiles, side)
            turns: list[tuple[Turn, Turn]] = []
            for number in range(arguments.rounds):
                own = alone(encoder, batches)
                whole = ingested(case, root / f"{case.name}-{number}.rsrag", profile, settings)
                turns.append((own, whole))
                print(f"{case.name}: encoder {own.rate:.1f}/s, ingest {whole.rate:.1f}/s", file=sys.stderr)
            results[case.name] = told(turns)
    print(
        json.dumps({
            "suite": "ingest-throughput", "model": arguments.model, "cores": towers.usable_cores(),
            "encoder_threads": arguments.threads or "all", "metrics": results,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
