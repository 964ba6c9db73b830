"""An image encoder that knows colours: real arithmetic instead of weights, so that right answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from rsrag.models import registry

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (0.7, 0.7, 0), "violet": (0.7, 0, 0.7)}
_TINT = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200), "yellow": (190, 190, 50)}
_TINT["violet"] = (190, 50, 190)


class ColourEncoder:
    """Three columns for the colour, which words reach; sixteen for the coarse pattern, which they do not."""

    def __init__(self, row: Any, settings: Any) -> None:
        self.name, self.fingerprint = row.name, f"{row.name}:1"
        self.dim, self.input_size = 19, 16

    def encode_images(self, pictures: Sequence[Any]) -> Any:
        """Half colour above grey, half pattern."""
        return np.array([self._one(np.asarray(p, np.float32)) for p in pictures], np.float32).reshape(-1, self.dim)

    def encode_words(self, texts: Sequence[str]) -> Any:
        """The mean of the colours that a text names."""
        found = [[COLOURS[w] for w in text.lower().replace(".", "").split() if w in COLOURS] for text in texts]
        means = np.array([np.mean(one or [(1, 1, 1)], axis=0) for one in found])
        return np.pad(_unit(means), ((0, 0), (0, 16))).astype(np.float32)

    def _one(self, picture: Any) -> Any:
        colour = picture.mean(axis=(0, 1))
        above = np.maximum(colour - colour.min(), 0) + 1e-3
        pattern = cv2.resize(picture.mean(axis=2), (4, 4), interpolation=cv2.INTER_AREA).ravel()
        pattern = pattern - pattern.mean() + 1e-3
        return np.sqrt(0.5) * np.concatenate([_unit(above[None])[0], _unit(pattern[None])[0]])


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """Make the encoder known for a test; returns what ``--encoder`` takes."""
    monkeypatch.setitem(registry._BACKENDS, "colours", "colour_encoder:ColourEncoder")  # type: ignore[index]
    path = folder / "colours.toml"
    path.write_text('backend = "colours"\nsource = "colours"\ndim = 19\n', encoding="utf-8")
    return str(path)


def tinted(colour: str, seed: int, size: int = 32) -> Any:
    """A textured picture of a colour, uint8 [size, size, 3]; another texture for every seed."""
    rng = np.random.default_rng([seed, len(colour)])
    texture = rng.normal(0, 25, (4, 4, 1)).repeat(size // 4, axis=0).repeat(size // 4, axis=1)
    return np.clip(np.array(_TINT[colour]) + texture + rng.normal(0, 4, (size, size, 1)), 0, 255).astype(np.uint8)


def write_classes(root: Path, each: int = 4, size: int = 32, colours: Sequence[str] = tuple(COLOURS)) -> Path:
    """A folder a colour, with pictures of it."""
    for colour in colours:
        (root / colour).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(tinted(colour, number, size)).save(root / colour / f"{number}.png")
    return root
