"""The benchmark of a place among many pictures runs, and its ranks are those of a table done by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from ground import ground
from PIL import Image
from rasters import write_tiff

DEGREES = 0.0001


def test_a_place_among_pictures(root: Path, tmp_path: Path) -> None:
    fields = ground(31, 512).transpose(2, 0, 1)
    options = {"transform": (DEGREES, 0, 3.0, 0, -DEGREES, 46.0), "crs": "EPSG:4326", "photometric": "RGB"}
    for name, gain in (("before_20200404", 1.0), ("after_20211010", 0.7)):
        colours = ["red", "green", "blue"]
        write_tiff(tmp_path / f"{name}.tif", (fields * gain + 20).astype(np.uint8), colours=colours, **options)
    for number in range(3):
        (tmp_path / "others" / "fields").mkdir(parents=True, exist_ok=True)
        Image.fromarray(ground(40 + number, 128)).save(tmp_path / "others" / "fields" / f"{number}.png")
    script = root / "eval" / "benchmarks" / "place_archive.py"
    scenes = ["--archive", str(tmp_path / "before_20200404.tif"), "--queries", str(tmp_path / "after_20211010.tif")]
    command = [sys.executable, str(script), *scenes, "--others", str(tmp_path / "others"), "--count", "4"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert (result["queries"], result["tiles"]) == (4, 12)
    assert result["layout"]["@1"] >= 0.75
    for ranks in (result["layout"], result["embedding"]):
        assert 0 <= ranks["@1"] <= ranks["@20"] == ranks["@2000"] == 1
    assert result["ms a query"] > 0
