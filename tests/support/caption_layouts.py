"""Two pictures with two sentences each, in every layout of caption files that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SAID = {"airport_1.jpg": ("Two planes .", "An airport ."), "beach_1.jpg": ("A beach .", "White sand .")}
FLAT = [{"file": file, "captions": list(texts)} for file, texts in SAID.items()]
LAYOUTS: dict[str, Any] = {
    "list": FLAT,
    "a row for each caption": [{"image": file, "caption": text} for file, texts in SAID.items() for text in texts],
    "RSICD": {"images": [{"filename": f, "sentences": [{"raw": t} for t in texts]} for f, texts in SAID.items()]},
    "COCO": {
        "images": [{"id": 7 * n, "file_name": file} for n, file in enumerate(SAID)],
        "annotations": [
            {"id": n, "image_id": 7 * n, "caption": texts[k]} for k in (0, 1) for n, texts in enumerate(SAID.values())
        ],
    },
    "map": {file: list(texts) for file, texts in SAID.items()},
    "a row a line": "\n".join(map(json.dumps, FLAT)) + "\n",
}
NWPU = {f.split("_")[0]: [{"filename": f, "raw": one, "raw_1": other}] for f, (one, other) in SAID.items()}


def written(folder: Path, layout: str) -> Path:
    """The caption file of a layout in ``folder``."""
    document = {**LAYOUTS, "NWPU": NWPU}[layout]
    lines = isinstance(document, str)
    path = folder / f"captions.{'jsonl' if lines else 'json'}"
    path.write_text(document if lines else json.dumps(document), encoding="utf-8")
    return path
