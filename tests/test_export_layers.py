"""Layers on disk: written by windows, reopened with the same grid, cut into polygons in pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasters import TEN_METRES, UTM31

from rsrag.errors import UsageError
from rsrag.export_layers import LayerWriter, LegendEntry
from rsrag.types import Window

LEGEND = (LegendEntry(0, "land", (90, 140, 60)), LegendEntry(3, "water", (30, 60, 200)))


def written(values: np.ndarray, kind: str = "class", located: bool = True, side: int = 100):  # type: ignore[no-untyped-def]
    height, width = values.shape
    crs, transform = (UTM31, TEN_METRES) if located else (None, None)
    legend = LEGEND if kind == "class" else ()
    with LayerWriter("cover", kind, width, height, crs, transform, legend=legend) as writer:  # type: ignore[arg-type]
        for window in writer.layer.windows(side):
            part = values[window.row : window.row + window.height, window.col : window.col + window.width]
            writer.write(window, part)
    return writer.layer


def squares() -> np.ndarray:
    values = np.zeros((300, 420), dtype=np.uint8)
    values[50:150, 80:230] = 3  # across the seams of windows of 100
    values[200:210, 400:420] = 3
    values[0, 0] = 255
    return values


def test_windows_put_together_are_the_whole() -> None:
    values = squares()
    layer = written(values)
    assert np.array_equal(layer.read(), values)
    part = Window(60, 40, 50, 30)
    assert np.array_equal(layer.read(part), values[40:70, 60:110])
    assert layer.read(longest=42).shape == (30, 42)


@pytest.mark.parametrize("located", [True, False])
def test_polygons_are_in_pixels_whatever_the_grid(located: bool) -> None:
    layer = written(squares(), located=located)
    found = sorted((shape.bounds for _, shape in layer.polygons([3])), key=lambda b: b[0])
    assert found == [(80, 50, 230, 150), (400, 200, 420, 210)]
    assert {value for value, _ in layer.polygons()} == {0, 3}
    land = next(shape for value, shape in layer.polygons([0]))
    assert land.area == 300 * 420 - 100 * 150 - 10 * 20 - 1 and isinstance(land, shapely.Polygon)


def test_a_saved_class_layer_reopens_with_grid_colours_and_names(tmp_path: Path) -> None:
    path = tmp_path / "cover.tif"
    written(squares()).save(path, tags={"RSRAG_TASK": "classify"})
    with rasterio.open(path) as raster:
        assert (raster.crs.to_string(), tuple(raster.transform)[:6]) == (UTM31, TEN_METRES)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.nodata == 255
        assert raster.tags()["CLASS_3"] == "water" and raster.tags()["RSRAG_TASK"] == "classify"
        assert raster.colormap(1)[3] == (30, 60, 200, 255) and raster.descriptions == ("cover",)
        assert np.array_equal(raster.read(1), squares())
    assert list(tmp_path.iterdir()) == [path]


def test_scores_keep_their_gaps(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 90 * 70, dtype=np.float32).reshape(90, 70)
    values[:4] = np.nan
    written(values, "score").save(tmp_path / "score.tif")
    with rasterio.open(tmp_path / "score.tif") as raster:
        assert np.array_equal(raster.read(1), values, equal_nan=True) and np.isnan(raster.nodata)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        written(squares()).save(tmp_path / "none" / "cover.tif")
