"""``rsrag classify`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import Run
from rasters import write_tiff

LABELS = "open water, dense forest, desert"


@pytest.fixture
def coast(tmp_path: Path) -> Path:
    """Sea to the left, sand to the right."""
    rng = np.random.default_rng(5)
    sea, sand = (np.array(colour)[:, None, None] + rng.normal(0, 4, (3, 256, 128)) for colour in (
        (12, 40, 84), (206, 170, 120),
    ))  # fmt: skip
    pixels = np.clip(np.concatenate([sea, sand], axis=2), 0, 255).astype(np.uint8)
    return write_tiff(tmp_path / "coast.tif", pixels)


def test_labels_by_likelihood(run: Run, coast: Path) -> None:
    found = run("classify", coast, "--labels", LABELS, "--json").json
    assert [s["label"] for s in found["scores"]] and found["known"] and found["calibrated"]
    assert sum(s["probability"] for s in found["scores"]) == pytest.approx(1)
    assert found["regions"] == [] and found["text"].startswith("The image shows ")


def test_a_map_with_outlines(run: Run, coast: Path, tmp_path: Path) -> None:
    ran = run("classify", coast, "--labels", LABELS, "--map", "-o", tmp_path / "m.tif", "-o", tmp_path / "m.geojson")
    assert ran.code == 0 and "Over the whole scene" in ran.out, ran.err
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert raster.tags()["CLASS_2"] == "desert"
    features = json.loads((tmp_path / "m.geojson").read_text())["features"]
    assert {f["properties"]["label"] for f in features} >= {"open water", "desert"}
    assert all(f["geometry"]["type"] in ("Polygon", "MultiPolygon") for f in features)
    assert (tmp_path / "m_probability.tif").exists()


def test_a_label_file_and_a_shipped_list(run: Run, coast: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("open water\ndesert\n")
    assert len(run("classify", coast, "--labels-file", tmp_path / "labels.txt", "--json").json["scores"]) == 2
    assert len(run("classify", coast, "--labels-file", "eurosat", "--json").json["scores"]) == 10


def test_nothing_likely_enough_is_an_exit_code(run: Run, coast: Path) -> None:
    ran = run("classify", coast, "--labels", LABELS, "--unknown", "1")
    assert ran.code == 1 and "likely enough" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which classes"),
        (("--labels", "a,b", "--labels-file", "eurosat"), "which classes"),
        (("--labels", "water, Water"), "water"),
        (("--labels", "a,b", "--turns", "3"), "turns"),
        (("--labels", "a,b", "-o", "x.doc"), "cannot write 'x.doc'"),
    ],
)
def test_wrong_usage_is_named(run: Run, coast: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = run("classify", coast, *arguments)
    assert ran.code == 2 and message in ran.err.lower()
