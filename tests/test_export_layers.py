"""Layers on disk: written by windows, reopened with the same grid, cut into polygons in pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio._err import CPLE_AppDefinedError
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


# Blocks of an open file are kept in memory and written when it is closed.
LIMITED = """
import resource, sys
import numpy as np
from rsrag.errors import UsageError
from rsrag.export_layers import LayerWriter
values = np.random.default_rng(0).random((600, 600), dtype=np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    with LayerWriter("heat", "score", 600, 600, None, None) as writer:
        for window in writer.layer.windows(100):
            part = values[window.row : window.row + window.height, window.col : window.col + window.width]
            writer.write(window, part)
except UsageError as error:
    print("refused:", error)
else:
    print("complete" if np.array_equal(writer.layer.read(), values) else "damaged")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize(("most", "says"), [(50, "refused"), (500_000, "refused"), (10_000_000, "complete")])
def test_values_that_find_no_room_on_the_disk_are_an_error(most: int, says: str) -> None:
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(most)], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(says), ran.stdout + ran.stderr
    if says == "refused":
        assert "cannot write the layer 'heat' to a temporary file" in ran.stdout and "TMPDIR" in ran.stdout


def test_nothing_need_be_on_disk_where_nothing_is_known() -> None:
    values = np.full((600, 700), np.nan, dtype=np.float32)
    values[300:310, 260:900] = 0.5
    assert np.array_equal(written(values, "score").read(), values, equal_nan=True)
    assert (written(np.full((300, 300), 255, dtype=np.uint8)).read() == 255).all()


@pytest.mark.parametrize("failure", [SystemError("Unknown GDAL Error"), CPLE_AppDefinedError(3, 1, "Write error")])
def test_errors_of_gdal_itself_while_saving_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    layer = written(squares())

    def fails(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("rasterio.shutil.copy", fails)
    with pytest.raises(UsageError, match=r"cannot write .*cover\.tif.*is the disk full"):
        layer.save(tmp_path / "cover.tif")
    assert not list(tmp_path.iterdir())
