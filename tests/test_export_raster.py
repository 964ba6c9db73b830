"""Computed rasters reach a GIS with their position, and a failed write leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasters import TEN_METRES, UTM31

from rsrag.errors import UsageError
from rsrag.export_raster import write_float_raster, write_picture_raster


def test_a_float_band_with_gaps(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 600 * 700).reshape(600, 700)
    values[:5] = np.nan
    path = tmp_path / "map.tif"
    write_float_raster(path, values, UTM31, TEN_METRES, description="likelihood", tags={"QUERY": "a lake"})
    with rasterio.open(path) as raster:
        assert (raster.crs.to_string(), tuple(raster.transform)[:6]) == (UTM31, TEN_METRES)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.tags()["QUERY"] == "a lake"
        assert raster.descriptions == ("likelihood",) and np.isnan(raster.nodata)
        assert np.array_equal(raster.read(1), values.astype(np.float32), equal_nan=True)
        assert not raster.read_masks(1)[:5].any() and raster.read_masks(1)[5:].all()


def test_a_picture_comes_back_as_it_was(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    write_picture_raster(tmp_path / "scene.tif", picture, UTM31, TEN_METRES)
    with rasterio.open(tmp_path / "scene.tif") as raster:
        assert np.array_equal(raster.read().transpose(1, 2, 0), picture)
        assert [band.name for band in raster.colorinterp] == ["red", "green", "blue"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    write_float_raster(path, np.zeros((4, 4)), UTM31, TEN_METRES)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"cannot write .*map\.tif"):
        write_float_raster(path, np.zeros((4, 4)), "no such system", TEN_METRES)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="cannot write"):
        write_float_raster(tmp_path / "missing" / "map.tif", np.zeros((4, 4)), UTM31, TEN_METRES)


LIMITED = """
import resource, sys
import subprocess
import sys
from pathlib import Path
import numpy as np
from rsrag.errors import UsageError
from rsrag.export_raster import write_float_raster
values = np.random.default_rng(0).random((600, 600), dtype=np.float32)
for most in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        write_float_raster(Path(sys.argv[1]), values, "EPSG:32631", (10, 0, 0, 0, -10, 0))
    except UsageError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_said_to_be_one(tmp_path: Path) -> None:
    """GDAL fails in other ways early and late in a file."""
    path = tmp_path / "map.tif"
    command = [sys.executable, "-c", LIMITED, str(path), "1000", "900000", "1500000"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert len(said) == 3 and all(f"cannot write {path}" in line and "is the disk full" in line for line in said)
    assert not list(tmp_path.iterdir())
