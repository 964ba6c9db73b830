"""Pictures at the input size of an encoder."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsrag.models.resize import resized


def pattern(height: int, width: int) -> np.ndarray:
    """Noise that no resizing carries beyond 0 or 255, where the order of its passes would show."""
    return np.random.default_rng(1).integers(100, 150, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(20, 400), (400, 20), (16, 129), (601, 19)])
def test_the_middle_of_a_strip_is_that_of_the_whole(height: int, width: int) -> None:
    picture, size, short = pattern(height, width), 32, min(height, width)
    target = size * width // short, size * height // short
    left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
    whole = Image.fromarray(picture).resize(target, Image.Resampling.BICUBIC)
    middle = np.asarray(whole.crop((left, top, left + size, top + size)), dtype=np.int16)
    assert np.abs(resized(picture, size, "crop") - middle).max() <= 1


def test_memory_does_not_grow_with_a_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def noted(image: Image.Image, size: tuple[int, int], *given: object, **named: object) -> Image.Image:
        made.append(size)
        return resize(image, size, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", noted)
    for shape in ((20, 60_000), (60_000, 20)):
        assert resized(pattern(*shape), 224, "crop").shape == (224, 224, 3)
    assert made == [(224, 224)] * 2
