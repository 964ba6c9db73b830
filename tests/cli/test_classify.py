"""``rsrag classify`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import Run
from PIL import Image
from rasters import noise, write_tiff

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


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """Two classes of one picture each, and a hidden folder."""
    for name, colour in (("open_water", (12, 40, 84)), ("desert", (206, 170, 120)), (".cache", (0, 0, 0))):
        (tmp_path / "shown" / name).mkdir(parents=True)
        pixels = np.clip(np.array(colour) + np.random.default_rng(1).normal(0, 4, (64, 64, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "shown" / name / "0.png")
    return tmp_path / "shown"


def test_folders_of_examples_are_the_classes(run: Run, coast: Path, shown: Path) -> None:
    ran = run("classify", coast, "--examples", shown, "--json")
    assert ran.code == 0, ran.err
    assert {s["label"] for s in ran.json["scores"]} == {"open water", "desert"}


def test_bands_that_the_file_does_not_name(run: Run, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "four.tif", noise(4, dtype="uint16"))
    ran = run("classify", path, "--labels", LABELS)
    assert ran.code == 1 and "--bands" in ran.err
    assert run("classify", path, "--labels", LABELS, "--bands", "red=1,green=2,blue=3,nir=4").code == 0


def test_nothing_valid_is_an_error(run: Run, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    ran = run("classify", path, "--labels", LABELS, "--map", "--json")
    assert ran.code == 1 and ran.json["error"]["message"] == "empty.tif: no valid pixels"


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
        (("--labels", "a,b", "--labels-file", "none.txt", "--examples", "shown"), "which classes"),
        (("--labels-file", "none.txt", "--examples", "shown"), "none.txt"),
        (("--labels-file", "no_labels.txt", "--examples", "shown"), "0 label"),
        (("--examples", "nowhere"), "no folder nowhere"),
        (("--examples", "shown/desert"), "no class folders in shown/desert"),
        (("--labels", "a,b", "--bands", "red=none"), "band mapping"),
        (("--labels", "unknown, water", "--map"), "what a map calls"),
        (("--labels", "water, Water"), "water"),
        (("--labels", "a,b", "--turns", "3"), "turns"),
        (("--labels", "a,b", "-o", "x.doc"), "cannot write 'x.doc'"),
    ],
)
def test_wrong_usage_is_named(
    run: Run, coast: Path, shown: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "no_labels.txt").write_text("# none\n")
    ran = run("classify", coast, *arguments)
    assert ran.code == 2 and message in ran.err.lower()
