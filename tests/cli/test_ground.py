"""``rsrag ground`` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Run
from rasters import noise, write_tiff


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A scene whose right half shows nothing."""
    mask = np.ones((64, 96), dtype=bool)
    mask[:, 48:] = False
    return write_tiff(tmp_path / "half.tif", noise(3, 64, 96), mask=mask)


def test_what_a_box_shows(run: Run, half: Path) -> None:
    ran = run("ground", half, "--identify", "8", "8", "60", "40", "--labels", "sea, town", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["names"][0][0] in ("sea", "town")


def test_a_box_that_shows_nothing(run: Run, half: Path) -> None:
    ran = run("ground", half, "--identify", "50", "8", "90", "40", "--json")
    assert ran.code == 1 and ran.json["error"]["message"] == "half.tif: no valid pixels in window 50,8 40×32"


@pytest.mark.parametrize("task", ["ground", "segment"])
def test_an_image_that_shows_nothing(task: str, run: Run, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "empty.tif", noise(3, 64, 96), mask=np.zeros((64, 96), dtype=bool))
    ran = run(task, path, "water", "--json")
    assert ran.code == 1 and ran.json["error"]["message"] == "empty.tif: no valid pixels"


def test_bands_that_the_file_does_not_name(run: Run, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "four.tif", noise(4, dtype="uint16"))
    ran = run("ground", path, "--identify", "0", "0", "64", "64")
    assert ran.code == 1 and "--bands" in ran.err
    assert run("ground", path, "--identify", "0", "0", "64", "64", "--bands", "red=1,green=2,blue=3,nir=4").code == 0
    assert run("ground", path, "ships", "--bands", "blue").code == 2
