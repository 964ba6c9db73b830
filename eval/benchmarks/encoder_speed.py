"""Image towers in every runtime that is here: ``python eval/benchmarks/encoder_speed.py``.

All variants get the same prepared batch, in turns, so that they meet the same load; printed are medians, the ratio to
torch in float32 (median of the ratios of each turn), the same of processor time, which other work on the machine
disturbs less, and the cosine to float32. ``--model mini`` is the shipped tower; torch runs two networks of its shape
with random weights, whose vectors mean nothing and are not compared. ``--model vit`` is an open_clip ViT-B/32 with
random weights. Int8 is calibrated on the even pictures and compared on the odd ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.config import Settings
from rsrag.errors import RsragError
from rsrag.models import registry, runtime
from rsrag.models.base import ModelRow, Picture
from rsrag.models.export import export, read_pictures

REFERENCE = "torch-f32"
MINI = Path(registry.__file__).parent / "weights" / "mini"
Encode = Callable[[Any], Any]


def variants(row: ModelRow, pictures: Path, folder: Path, own: tuple[str, ...]) -> dict[str, Any]:
    """Encoders of a model by name of runtime: its own, and those of its exports."""
    found = {name: registry.load(row, Settings(runtime=name, device="cpu")) for name in own}
    for to, names in (("onnx", ("ort", "openvino-f32", "openvino-bf16")), ("onnx-int8", ("ort",))):
        made = export(row, Settings(), to, folder / f"{row.name}-{to}", pictures)
        exported = registry.rows_of(Settings(profile=str(made.profile)))["image"]
        for name in names:
            label = f"{name}-int8" if to == "onnx-int8" else name
            found.setdefault(label, registry.load(exported, Settings(runtime=name)))
    return found


def mini_in_torch() -> dict[str, Encode]:
    """The two networks of the mini tower in torch, random weights."""
    import rsrag.train
    from rsrag.models.towers import run
    from rsrag.train.config import load_config
    from rsrag.train.quantise import torch_tower

    config = load_config(Path(rsrag.train.__file__).parent / "configs" / "mini.toml").model
    base = json.loads((MINI / "image" / "config.json").read_text(encoding="utf-8"))["joined"]["base_size"]
    towers = {f"torch-{number}": torch_tower(config, number, (base, None)) for number in ("f32", "bf16")}
    return {name: partial(run, tower) for name, tower in towers.items()}


def measure(encoders: dict[str, Encode], batch: Any, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds a picture of every round, and those of processor time, by variant; without those that cannot run."""
    times: dict[str, list[tuple[float, float]]] = {}
    for name, encode in encoders.items():
        try:
            encode(batch)  # ready, and warm
            times[name] = []
        except RsragError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    for _ in range(rounds):
        for name in times:
            start, cpu = time.perf_counter(), time.process_time()
            encoders[name](batch)
            spent = time.perf_counter() - start, time.process_time() - cpu
            times[name].append((1000 * spent[0] / len(batch), 1000 * spent[1] / len(batch)))
    return times


def table(row: ModelRow, source: Path, batch_size: int, rounds: int) -> list[dict[str, Any]]:
    """One line a variant: milliseconds, ratio to torch in float32, cosines to float32."""
    mini = row.backend == "mini_image"
    own = ("ort",) if mini else (REFERENCE, "torch-bf16")
    with tempfile.TemporaryDirectory() as folder:
        encoders = variants(row, source, Path(folder), own)
        checked: list[Picture] = read_pictures(source)[1::2][:128]
        exact = encoders[own[0]]
        batch = np.stack([exact.prepare(picture) for picture in (checked * batch_size)[:batch_size]])
        runs: dict[str, Encode] = {name: encoder.encode_prepared for name, encoder in encoders.items()}
        times = measure((mini_in_torch() if mini else {}) | runs, batch, rounds)
        wanted = exact.encode_images(checked)
        lines = []
        for name, values in times.items():
            ms, cpu_ms = np.median(values, axis=0)
            ratio, cpu_ratio = np.median(np.array(times[REFERENCE]) / np.array(values), axis=0)
            line: dict[str, Any] = {"model": row.name, "runtime": name, "ms": round(ms, 3), "cpu_ms": round(cpu_ms, 3)}
            line |= {"times_torch_f32": round(ratio, 2), "cpu_times_torch_f32": round(cpu_ratio, 2)}
            if name in encoders:
                cosines = (encoders[name].encode_images(checked).astype(np.float64) * wanted).sum(axis=1)
                line |= {"cosine_mean": round(float(cosines.mean()), 5), "cosine_min": round(float(cosines.min()), 5)}
            lines.append(line)
    return lines


def main() -> None:
    """Measure, print a table to standard error and JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("mini", "vit", "both"), default="both")
    parser.add_argument("--pictures", type=Path, help="folder of tiles; drawn ones by default")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.pictures or drawn_folder(Path(folder) / "drawn")
        if arguments.model in ("mini", "both"):
            row = replace(registry.find("mini-image"), source=str(mini_folder()))
            lines += table(row, source, arguments.batch, arguments.rounds)
        if arguments.model in ("vit", "both"):
            from rsrag.models.random_weights import random_clip

            lines += table(random_clip("ViT-B-32", Path(folder)), source, arguments.batch, arguments.rounds)
    for line in lines:
        print("  ".join(f"{key} {value}" for key, value in line.items()), file=sys.stderr)
    print(json.dumps({"suite": "encoder-speed", "pictures": str(arguments.pictures or "drawn"), "rows": lines}))


def mini_folder() -> Path:
    """The shipped image tower."""
    import rsrag.models.mini

    return Path(rsrag.models.mini.__file__).parent / registry.find("mini-image").source


def drawn_folder(folder: Path, count: int = 128) -> Path:
    """Drawn pictures as files."""
    import cv2

    folder.mkdir()
    for number, picture in enumerate(runtime.drawn(256, count)):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture[..., ::-1])
    return folder


if __name__ == "__main__":
    main()
