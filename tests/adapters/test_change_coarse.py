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
from rsrag.config import Settings
from rsrag.models.registry import load_profile

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
