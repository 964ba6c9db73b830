"""Where a path leads, and what a file is."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from rasters import stac_item, write_rgb

from rsrag.errors import RefusedSource, SourceTooLarge, UnreadableSource, UnsupportedSource
from rsrag.ingest.guard import Limits, SourceType, check_block, check_path, sniff


@pytest.mark.parametrize(
    "text",
    [
        "/vsicurl/http://example.com/a.tif",
        "//vsizip/a.zip/b.tif",
        "/VSIMEM/x",
        "http://example.com/a.tif",
        "s3://bucket/a.tif",
        "zip+file:///a.zip!/b.tif",
        "file:///etc/hostname",
        "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
        "NETCDF:data.nc:t2m",
        "GTIFF_DIR:1:image.tif",
        "/dev/zero",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(text: str) -> None:
    with pytest.raises(RefusedSource):
        check_path(text)


@pytest.mark.parametrize("text", ["", "  ", "no-such-file.tif", "a\0b", "~nobody-of-that-name/a.tif"])
def test_paths_that_lead_nowhere_are_unreadable(text: str) -> None:
    with pytest.raises(UnreadableSource):
        check_path(text)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(RefusedSource, match="pipe"):
        check_path(tmp_path / "pipe.tif")


def test_a_local_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("GTIFF:x.tif").write_bytes(b"II*\0")
    assert check_path("GTIFF:x.tif") == tmp_path / "GTIFF:x.tif"


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, kind)
    return stream.getvalue()


_FEATURE = {"type": "Feature", "geometry": None, "properties": {}}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.png", _picture("PNG"), SourceType.PNG),
        ("a.jpg", _picture("JPEG"), SourceType.JPEG),
        ("a.jp2", _picture("JPEG2000"), SourceType.JP2),
        ("a.pdf", b"%PDF-1.7\n", SourceType.PDF),
        ("big.tif", b"II+\0\x08\0\0\0" + b"\0" * 16, SourceType.GEOTIFF),
        ("no-suffix", _picture("PNG"), SourceType.PNG),
        ("a.geojson", json.dumps({"type": "FeatureCollection", "features": [_FEATURE]}).encode(), SourceType.GEOJSON),
        ("a.json", json.dumps(stac_item()).encode(), SourceType.STAC_ITEM),
        (
            "b.json",
            json.dumps({"type": "FeatureCollection", "features": [stac_item()]}).encode(),
            SourceType.STAC_ITEMS,
        ),
        ("c.json", b'{"type": "Catalog", "stac_version": "1.1.0", "links": []}', SourceType.STAC_CATALOG),
        ("d.json", b'[{"a": 1}]', SourceType.JSON),
        ("a.jsonl", b'{"a": 1}\n{"a": 2}\n', SourceType.JSONL),
        ("a.csv", b"name,lat,lon\nx,1,2\n", SourceType.CSV),
        ("a.md", b"# Title\n", SourceType.MARKDOWN),
        ("a.txt", "Überblick".encode(), SourceType.TEXT),
        ("a.geojson.gz", gzip.compress(json.dumps(_FEATURE).encode(), mtime=0), SourceType.GEOJSON),
        ("a.csv.gz", gzip.compress(b"name,lat,lon\n", mtime=0), SourceType.CSV),
        ("one.jsonl", b'{"text": "A single record."}\n', SourceType.JSONL),
        ("one.ndjson.gz", gzip.compress(b'{"text": "A single record."}', mtime=0), SourceType.JSONL),
        ("wide.csv", "name,lat,lon\nÅ,1,2\n".encode("utf-16"), SourceType.CSV),
        ("wide.txt", "\ufeffÜberblick".encode("utf-16-be"), SourceType.TEXT),
        ("wide.geojson", json.dumps(_FEATURE).encode("utf-16"), SourceType.GEOJSON),
        ("long.md", ("# A\n" + "x\U0001f30d" * 1500).encode("utf-16"), SourceType.MARKDOWN),
    ],
)
def test_types_by_content(tmp_path: Path, name: str, content: bytes, kind: SourceType) -> None:
    (tmp_path / name).write_bytes(content)
    assert sniff(tmp_path / name) is kind


def test_a_large_geojson_is_known_by_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrag.ingest.guard.JSON_BYTES", 100)
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": [' + " " * 200)
    assert sniff(tmp_path / "a.geojson") is SourceType.GEOJSON


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tif", b"", "empty"),
        ("a.tif", b"<!DOCTYPE html><html>404</html>", "HTML page"),
        ("a.tif", _picture("PNG"), "PNG picture"),
        ("a.png", _picture("JPEG"), "JPEG picture"),
        ("a.tif", b"\0\1\2\3garbage", "not a TIFF"),
        ("a.json", b'{"type": "Feature", ', "damaged JSON"),
        ("a.json.gz", b"\x1f\x8b\x08broken", "gzip"),
    ],
)
def test_lying_files_are_unreadable(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableSource, match=said):
        sniff(tmp_path / name)


def test_archives_and_virtual_rasters_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.tif", "w") as archive:
        archive.writestr("../evil.tif", b"x")
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.add(tmp_path / "a.tif", "a.tif")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.tif", "a.tif")
    (tmp_path / "d.tif").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    (tmp_path / "e.tif").write_text('<?xml version="1.0"?>\n<!-- harmless -->\n<VRTDataset rasterXSize="1"/>')
    for name in ("a.tif", "b.tar", "c.tar.gz", "d.tif", "e.tif"):
        with pytest.raises(RefusedSource):
            sniff(tmp_path / name)


def test_databases_that_are_no_geopackage_are_unsupported(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0" + b"\0" * 100)
    with pytest.raises(UnsupportedSource, match="SQLite"):
        sniff(tmp_path / "a.db")


def test_a_block_that_does_not_fit_is_too_large() -> None:
    check_block("a.tif", (512, 512), 4, 2, Limits())
    with pytest.raises(SourceTooLarge, match="block"):
        check_block("a.tif", (30_000, 30_000), 3, 1, Limits())


def test_gdal_is_hardened_in_a_fresh_process(tmp_path: Path) -> None:
    """Even without a pinned driver, a virtual raster named .tif and an address are not opened."""
    target = write_rgb(tmp_path / "real.tif")
    (tmp_path / "x.tif").write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    code = (
        "import sys; from rsrag.ingest.guard import harden_gdal; assert 'rasterio' not in sys.modules; harden_gdal()\n"
        "import rasterio\n"
        f"for p in [{str(tmp_path / 'x.tif')!r}, '/vsicurl/http://127.0.0.1:9/a.tif']:\n"
        "    try: rasterio.open(p)\n"
        "    except rasterio.errors.RasterioIOError: print('refused')\n"
        f"rasterio.open({str(target)!r}).close(); print('opened')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["refused", "refused", "opened"], done.stderr
