"""Changes on coarse grids: areas row by row, and bright ground that is no cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dates import built, ground, relit, write
from rasters import write_tiff

from rsrag.adapters import measure
from rsrag.adapters.base import Context
from rsrag.adapters.change import Change, ChangeRequest, ChangeResult
from rsrag.adapters.change.ground import UNKNOWN
from rsrag.config import Settings
from rsrag.models.registry import load_profile
from rsrag.types import Window

BLOCK = (60, 50, 100, 90)


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def run(context: Context, *images: Path, **options: Any) -> ChangeResult:
    return Change().run(ChangeRequest(images, method="cva", kinds=False, register=False, **options), context)


def grey(path: Path, picture: np.ndarray) -> Path:
    return write_tiff(path, picture[None, ..., 0], colours=["gray"])


def test_bright_smooth_ground_of_a_grey_raster_is_no_cloud(context: Context, tmp_path: Path) -> None:
    first = grey(tmp_path / "a_20100101.tif", ground())
    second = grey(tmp_path / "b_20200101.tif", built(relit(ground()), [BLOCK], 240))
    result = run(context, first, second)
    assert result.count == 1 and result.compared == 1.0 and "clouds" not in " ".join(result.warnings)
    asked = run(context, first, second, mask_clouds=True)
    assert not asked.changed and "clouds" in " ".join(asked.warnings)


def test_areas_on_a_grid_in_degrees_are_those_of_the_regions(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels of 0.1° between 80° and 67° north: the lowest row is twice as wide as the uppermost."""
    measured = []
    mean = measure.pixel_area_m2
    monkeypatch.setattr(measure, "pixel_area_m2", lambda *given: measured.append(given) or mean(*given))
    grid: dict[str, Any] = {"transform": (0.1, 0, 10, 0, -0.1, 80), "crs": "EPSG:4326"}
    first = write(tmp_path / "a_20100101.tif", ground(), **grid)
    second = write(tmp_path / "b_20200101.tif", built(relit(ground()), [(10, 5, 50, 25), (90, 100, 140, 120)]), **grid)
    result = run(context, first, second)
    areas = [float(fact.value) for region in result.regions for fact in region.facts if fact.name == "area"]
    assert result.count == len(areas) == 2 and result.area_m2 == pytest.approx(sum(areas), rel=1e-6)
    assert len(measured) < 10  # not one part of the window after another


def test_what_became_what_is_measured_row_by_row_too(context: Context, tmp_path: Path) -> None:
    grid: dict[str, Any] = {"transform": (0.1, 0, 10, 0, -0.1, 80), "crs": "EPSG:4326"}
    first = write(tmp_path / "a_20100101.tif", ground(), **grid)
    second = write(tmp_path / "b_20200101.tif", built(relit(ground()), [(10, 5, 50, 25), (90, 100, 140, 120)]), **grid)
    result = Change().run(ChangeRequest((first, second), method="cva", register=False), context)
    known = [turn for turn in result.transitions if turn.area_m2 is not None]
    assert known and sum(turn.pixels for turn in known) > 1000
    total = sum(turn.area_m2 or 0.0 for turn in known)
    before, after = (layer.read() for layer in result.layers[2:4])
    areas = measure.pixel_areas_m2(result.subject, Window(0, 0, result.subject.width, result.subject.height))
    assert areas is not None
    assert total == pytest.approx(float(areas.sum(where=(before != UNKNOWN) & (after != UNKNOWN))), rel=1e-6)
