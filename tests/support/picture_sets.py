"""Small sets of pictures on disk, in folders and zip files, as users have them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Picture = np.ndarray[Any, np.dtype[np.uint8]]


def picture(seed: int, size: int = 48) -> Picture:
    """A picture with structure at several scales, uint8 RGB; another one for every seed."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size, 3))
    for cells, weight in ((3, 90), (6, 60), (12, 40)):
        coarse = rng.normal(0, 1, (cells, cells, 3)) * 0.4 + rng.normal(0, 1, (cells, cells, 1))
        total += weight * np.kron(coarse, np.ones((size // cells, size // cells, 1)))
    return np.clip(total * 0.6 + 128, 0, 255).astype(np.uint8)


def plain(level: int, size: int = 48) -> Picture:
    """A picture of one colour."""
    return np.full((size, size, 3), level, dtype=np.uint8)


def encoded(pixels: Picture, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=kind, **options)
    return buffer.getvalue()


def write(root: Path, files: Mapping[str, bytes | Picture]) -> Path:
    """A folder with these files; pictures as PNG or, by their ending, JPEG."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(name, content))
    return root


def write_zip(path: Path, files: Mapping[str, bytes | Picture]) -> Path:
    """A zip file with these files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, _bytes(name, content))
    return path


def _bytes(name: str, content: bytes | Picture) -> bytes:
    if isinstance(content, bytes):
        return content
    return encoded(content, "JPEG", quality=92) if name.endswith((".jpg", ".jpeg")) else encoded(content)


def classes(names: Sequence[str] = ("Forest", "SeaLake", "Highway"), each: int = 3) -> dict[str, Picture]:
    """Pictures in class folders."""
    return {f"{name}/{i}.png": picture(100 * n + i) for n, name in enumerate(names) for i in range(each)}


def captions(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a captions file."""
    return json.dumps(list(rows)).encode()
