"""Image files that lie, are damaged, ask for too much or lie nowhere on Earth: what each of them gets."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasters import TEN_METRES, noise, png_of_size, write_rgb, write_sparse, write_tiff

from rsrag import geo
from rsrag.errors import RefusedSource, SourceError, SourceTooLarge, UnreadableSource, UnsupportedSource
from rsrag.ingest.discover import Discovered, discover, open_scenes
from rsrag.ingest.enrich import blank_reason, tile_facts, tile_footprint
from rsrag.ingest.readers.base import ReadOptions
from rsrag.ingest.readers.photo import load_picture
from rsrag.ingest.readers.raster import RasterFile
from rsrag.ingest.windows import TileFailure, TilePixels, plan_tiles, read_tiles
from rsrag.types import BBox, Footprint, ItemError, Scene, Window


@dataclass
class Outcome:
    """What became of the images below a path."""

    errors: list[str] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)
    tiles: list[TilePixels] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    failures: list[TileFailure] = field(default_factory=list)


def take(path: Path | str, options: ReadOptions | None = None, tile_size: int = 32) -> Outcome:
    """What ingest does with a path, up to the encoder."""
    outcome = Outcome()
    for found in discover([path], options):
        if isinstance(found, ItemError):
            outcome.errors.append(found.code)
            continue
        try:
            for source in open_scenes(found, options):
                assert not isinstance(source, ItemError)
                with source:
                    plan = plan_tiles(source.scene.width, source.scene.height, tile_size, [1])
                    outcome.scenes.append(source.scene)
                    for tile in read_tiles(source, plan):
                        if isinstance(tile, TileFailure):
                            outcome.failures.append(tile)
                        elif (reason := blank_reason(tile)) is not None:
                            outcome.blank.append(reason)
                        else:
                            outcome.tiles.append(tile)
        except SourceError as error:
            outcome.errors.append(error.code)
    return outcome


def opening(path: Path, kind: type[SourceError], match: str, options: ReadOptions | None = None) -> SourceError:
    found = next(iter(discover([path], options)))
    assert isinstance(found, Discovered), found
    with pytest.raises(kind, match=match) as caught:
        next(open_scenes(found, options))
    return caught.value


def footprint_of(path: Path) -> Footprint:
    footprint = take(path).scenes[0].footprint
    assert footprint is not None
    return footprint


# --- files that are not what they say -------------------------------------------------------------------------------


def test_one_bad_file_of_each_kind_leaves_the_good_one(tmp_path: Path) -> None:
    good = write_rgb(tmp_path / "good.tif")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "page.tif").write_text("<!DOCTYPE html><html><body>Not found</body></html>")
    (tmp_path / "vrt.tif").write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{good}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "garbage.tif").write_bytes(bytes(range(256)))
    (tmp_path / "header.tif").write_bytes(b"II*\0" + b"\xff" * 60)
    outcome = take(tmp_path)
    assert sorted(outcome.errors) == ["RefusedSource", *["UnreadableSource"] * 4]
    assert len(outcome.scenes) == 1 and len(outcome.tiles) == 4


@pytest.mark.parametrize("text", ["/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif", "<VRTDataset/>"])
def test_paths_to_elsewhere_open_nothing(text: str) -> None:
    assert take(text).errors == ["RefusedSource"]
    with pytest.raises(RefusedSource):
        load_picture(text)


def test_a_tiff_cannot_name_an_overview_elsewhere(tmp_path: Path) -> None:
    """Side-cars of GDAL, which may name any file or address, are not looked at."""
    path = write_rgb(tmp_path / "a.tif")
    clean = take(path).scenes[0]
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><SRS>EPSG:4326</SRS><Metadata domain="OVERVIEWS">'
        '<MDI key="OVERVIEW_FILE">/vsicurl/http://127.0.0.1:9/a.ovr</MDI></Metadata></PAMDataset>'
    )
    assert take(path).scenes[0] == clean


# --- damaged --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_a_truncated_tiff_keeps_its_readable_tiles(tmp_path: Path, compress: str) -> None:
    path = write_rgb(
        tmp_path / "a.tif", 128, 128, tiled=True, blockxsize=32, blockysize=32, compress=compress, interleave="pixel"
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    outcome = take(path)
    assert outcome.errors == []
    assert len(outcome.tiles) + len(outcome.failures) == 16
    assert outcome.tiles and outcome.failures
    assert all("damaged" in failure.reason and "a.tif" in failure.reason for failure in outcome.failures)
    for tile in outcome.tiles:
        col, row, width, height = tile.tile.window
        np.testing.assert_array_equal(tile.data, noise(3, 128, 128)[:, row : row + height, col : col + width])


def test_damage_inside_a_block_costs_that_block(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", 64, 64, tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = b"\xff" * 64
    path.write_bytes(content)
    outcome = take(path)
    assert len(outcome.failures) == 1 and len(outcome.tiles) == 3


def test_damage_reaches_coarse_scales_only_where_it_lies(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", 256, 256, tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with next(open_scenes(next(iter(discover([path]))))) as source:  # type: ignore[arg-type,union-attr]
        read = list(read_tiles(source, plan_tiles(256, 256, 16, [1, 2, 4, 8, 16])))  # type: ignore[arg-type]
    for scale, count in ((1, 256), (2, 64), (4, 16), (8, 4), (16, 1)):
        bad = [t.tile.window for t in read if isinstance(t, TileFailure) and t.tile.scale == scale]
        good = [t.tile.window for t in read if isinstance(t, TilePixels) and t.tile.scale == scale]
        assert len(bad) + len(good) == count and bad, scale
        assert scale == 16 or (all(w.row >= 128 for w in bad) and any(w.row < 128 for w in good))


def test_a_truncated_header_is_unreadable(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:40])
    assert take(path).errors == ["UnreadableSource"]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated_pictures_are_unreadable(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(noise(3, 200, 200).transpose(1, 2, 0)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    options = ReadOptions(allow_unlocated=True)
    opening(path, UnreadableSource, "damaged", options)
    with pytest.raises(UnreadableSource):
        load_picture(path)


# --- asking for too much --------------------------------------------------------------------------------------------


def test_a_sparse_giant_is_refused_before_a_pixel_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sparse(tmp_path / "a.tif", 10**6)
    assert path.stat().st_size < 10**6
    monkeypatch.setattr(RasterFile, "read", lambda *_: pytest.fail("a pixel was read"))
    assert take(path, tile_size=256).errors == ["SourceTooLarge"]


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_pixel_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of_size(width, height))
    error = opening(path, SourceTooLarge, "limit", ReadOptions(allow_unlocated=True))
    assert "GeoTIFF" in (error.hint or "")
    with pytest.raises(SourceTooLarge):
        load_picture(path.read_bytes())


def test_a_single_block_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A TIFF of one compressed tile of 40,000 × 40,000 pixels: its smallest readable unit is the whole."""
    tags = [
        (256, 4, 1, 40_000), (257, 4, 1, 40_000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
        (277, 3, 1, 1), (322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 200), (325, 4, 1, 10),
    ]  # fmt: skip
    body = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    path = tmp_path / "a.tif"
    path.write_bytes(body.ljust(200, b"\0") + b"\0" * 10)
    opening(path, SourceTooLarge, "block", ReadOptions(allow_unlocated=True))


# --- values ---------------------------------------------------------------------------------------------------------


def test_thirteen_unknown_bands_are_refused_and_accepted_with_a_mapping(tmp_path: Path) -> None:
    from rsrag.ingest.readers.bands import parse_bands

    path = write_tiff(tmp_path / "a.tif", noise(13, 64, 64, "uint16", 9000))
    opening(path, UnsupportedSource, "13 bands of unknown meaning")
    outcome = take(path, ReadOptions(bands=(parse_bands("red=4,green=3,blue=2,nir=8"),)))
    assert len(outcome.tiles) == 4
    assert outcome.scenes[0].stretch is not None and outcome.scenes[0].stretch.startswith("percentile")


@pytest.mark.parametrize("value", [np.nan, np.inf, -9999.0])
def test_nothing_but_invalid_values_is_blank(tmp_path: Path, value: float) -> None:
    path = write_tiff(tmp_path / "a.tif", np.full((1, 64, 64), value, np.float32), nodata=-9999.0)
    assert take(path).blank == ["no valid pixels"] * 4


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_constant_scenes_are_blank(tmp_path: Path, dtype: str) -> None:
    assert take(write_tiff(tmp_path / "a.tif", np.full((1, 64, 64), 7, dtype))).blank == ["all pixels alike"] * 4


def test_partly_invalid_scenes_keep_what_they_have(tmp_path: Path) -> None:
    data = noise(1, 64, 64, "float32")
    data[0, :, :40] = np.nan
    outcome = take(write_tiff(tmp_path / "a.tif", data))
    assert (len(outcome.blank), len(outcome.tiles)) == (2, 2)
    assert all(tile.mask.mean() == 0.75 for tile in outcome.tiles)
    assert all(np.isfinite(tile.picture).all() for tile in outcome.tiles)


# --- where ----------------------------------------------------------------------------------------------------------


def test_no_crs_is_an_error_or_un_located_on_request(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", crs=None, transform=None)
    assert take(path).errors == ["BadFootprint"]
    outcome = take(path, ReadOptions(allow_unlocated=True))
    assert outcome.scenes[0].footprint is None and len(outcome.tiles) == 4
    assert tile_footprint(outcome.scenes[0], Window(0, 0, 32, 32)) is None


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", (1.0, 0.0, 170.0, 0.0, -1.0, 150.0)),  # off Earth
        ("EPSG:4326", (10.0, 0.0, 1000.0, 0.0, -10.0, 50.0)),
        ("EPSG:3857", (1e9, 0.0, -1e12, 0.0, -1e9, 1e12)),  # nonsense Mercator
        ("EPSG:32631", (1e6, 0.0, 5e9, 0.0, -1e6, 5e9)),
        ("EPSG:32631", (1e-300, 0.0, 5e5, 0.0, -1e-300, 5e6)),  # degenerate
        ("EPSG:32631", (10.0, 10.0, 5e5, 10.0, 10.0, 5e6)),
    ],
)
@pytest.mark.parametrize("options", [ReadOptions(), ReadOptions(allow_unlocated=True)])
def test_nonsense_coordinates_are_never_replaced(
    tmp_path: Path, crs: str, transform: tuple[float, ...], options: ReadOptions
) -> None:
    path = write_rgb(tmp_path / "a.tif", crs=crs, transform=transform)
    assert take(path, options).errors == ["BadFootprint"]


def test_a_local_system_without_a_place_on_earth_is_an_error(tmp_path: Path) -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    path = write_rgb(tmp_path / "a.tif", crs=local)
    assert take(path).errors == ["BadFootprint"]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", (0.01, 0.0, 179.68, 0.0, -0.01, 10.0)),
        ("EPSG:32660", (1000.0, 0.0, 700_000.0, 0.0, -1000.0, 5_000_000.0)),
    ],
)
def test_across_the_antimeridian(tmp_path: Path, crs: str, transform: tuple[float, ...]) -> None:
    footprint = footprint_of(write_rgb(tmp_path / "a.tif", crs=crs, transform=transform))
    assert footprint.bbox.crosses_antimeridian and len(footprint.polygons) == 2
    middle = (footprint.bbox.south + footprint.bbox.north) / 2
    for box in (BBox(179.9, middle - 0.05, 180, middle + 0.05), BBox(-180, middle - 0.05, -179.95, middle + 0.05)):
        assert geo.intersects(footprint, geo.footprint_from_bbox(box))
    assert not geo.holds(footprint, (0.0, middle))


def test_round_the_pole(tmp_path: Path) -> None:
    path = write_rgb(
        tmp_path / "a.tif", crs="EPSG:3031", transform=(10_000.0, 0.0, -320_000.0, 0.0, -10_000.0, 320_000.0)
    )
    footprint = footprint_of(path)
    assert geo.area_km2(footprint) == pytest.approx(640**2, rel=0.1)
    for lon in (-170.0, -45.0, 0.0, 90.0, 179.0):
        assert geo.holds(footprint, (lon, -89.0))
    assert not geo.holds(footprint, (0.0, -80.0))


def test_area_of_a_tile_is_that_of_its_window(tmp_path: Path) -> None:
    outcome = take(write_rgb(tmp_path / "a.tif", transform=TEN_METRES))
    scene, tile = outcome.scenes[0], outcome.tiles[0]
    footprint = tile_footprint(scene, tile.tile.window)
    facts = {f.name: f.value for f in tile_facts(tile, scene.bands, ["DN"] * 3, footprint)}
    assert facts["area_km2"] == pytest.approx(0.32**2, rel=0.01)
