"""Copies of training pictures that the leak guard finds: ``python -m rsrag.eval.benchmarks.leak_recall DATA``.

DATA holds ``eurosat.zip``, ``ucm_captions.zip`` and ``rsicd.zip``. Pictures of their ``train`` splits that the shipped
encoder's manifest lists are altered and looked for; pictures of the ``val`` splits must not be found.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rsrag.eval.datasets.images import Files, ImageItem, decode, turned_hashes
from rsrag.eval.datasets.leakage import find_leaks, seen_by
from rsrag.models.base import Picture
from rsrag.models.registry import find

SETS = ("eurosat.zip", "ucm_captions.zip", "rsicd.zip")
PICTURES = 100


def again(pixels: Picture, quality: int = 60) -> Picture:
    """The picture after JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="JPEG", quality=quality)
    return decode(buffer.getvalue(), "copy.jpg")


def smaller(pixels: Picture) -> Picture:
    """The picture at 60 % of its size."""
    height, width = pixels.shape[:2]
    size = (round(width * 0.6), round(height * 0.6))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG of quality 50": lambda p: again(p, 50),
    "flipped, turned, JPEG of quality 60": lambda p: again(np.rot90(p)[:, ::-1]),
    "60 % of the size": smaller,
    "15 % brighter": lambda p: np.clip(p * 1.15 + 8, 0, 255).astype(np.uint8),
}


def pictures(path: Path, split: str, most: int | None) -> list[Picture]:
    """Pictures of a split, evenly spread over it when there are more than ``most``."""
    with Files(path) as source:
        names = [name for name in source.names if name.startswith(f"{split}/") and name.endswith(".jpg")]
        if most is not None:
            names = [names[i] for i in np.linspace(0, len(names) - 1, most).astype(int)]
        return [decode(source.read(name), name) for name in names]


def items(made: Sequence[Picture]) -> list[ImageItem]:
    """Pictures without a file, known by their looks alone."""
    return [ImageItem(str(i), "", (), "-", "", turned_hashes(pixels)) for i, pixels in enumerate(made)]


def main(arguments: Sequence[str]) -> int:
    """Measure and print one JSON object."""
    if len(arguments) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    seen = seen_by(find("mini-image"))
    if seen is None:
        sys.stderr.write("the shipped encoder has no manifest\n")
        return 1
    known = [p for name in SETS for p in pictures(Path(arguments[0]) / name, "train", PICTURES)]
    result = {}
    for name, change in COPIES.items():
        found = find_leaks(items([change(pixels) for pixels in known]), seen)
        result[name] = {"copies": len(known), "found": len(found.leaks), "too plain": found.plain}
    for name in SETS:
        found = find_leaks(items(pictures(Path(arguments[0]) / name, "val", None)), seen)
        result[f"{name}, val"] = {"pictures": found.pictures, "found": len(found.leaks), "too plain": found.plain}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
