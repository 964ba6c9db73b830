"""Dates and sensors from names and tags."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.ingest.readers.names import guess_sensor, guess_time
from rsrag.times import format_span


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("naip/m_4709963_se_14_1_20090818.tif", "2009-08-18"),
        ("LE70220491999322EDC01_stack.tif", "1999-11-18"),
        ("LC08_L1TP_044034_20170614_20170628_01_T1_B4.TIF", "2017-06-14"),
        ("T31UDQ_20210605T104021_B04.jp2", None),
        ("scene_2020-02-29.tif", "2020-02-29"),
        ("landsat/1985.tif", "1985"),
        ("1995/mosaic.tif", "1995"),
        ("a_2021-07.tif", "2021-07"),
        ("landsat_1985.tif", "1985"),
        ("landsat_8_pucallpa_2019_rgb.tif", "2019"),
        ("1990_Landsat-5_30m_utm48n.tif", "1990"),
        ("airport_1999.jpg", "unknown date"),
        ("S2_1999.tif", "unknown date"),
        ("landsat_1985_2020.tif", "unknown date"),
        ("landsat_utm_2154.tif", "unknown date"),
        ("naip_12_2016.tif", "unknown date"),
        ("naip_2000m.tif", "unknown date"),
        ("sentinel-2_0042.tif", "unknown date"),
        ("tile_20201340.tif", "unknown date"),
        ("x_20210230.tif", "unknown date"),
        ("0042.tif", "unknown date"),
        ("29990101.tif", "unknown date"),
        ("12345678901234.tif", "unknown date"),
    ],
)
def test_dates_in_names(path: str, date: str | None) -> None:
    span = guess_time(Path(path), {})
    if date is None:
        assert span is not None
        assert span.start == span.end == datetime.fromisoformat("2021-06-05T10:40:21Z")
    else:
        assert format_span(span) == date


def test_acquisition_tags_come_before_names_and_names_before_the_general_date() -> None:
    path = Path("a_20200102.tif")
    assert format_span(guess_time(path, {"acquisition_date": "2019-05-06"})) == "2019-05-06"
    assert format_span(guess_time(path, {"TIFFTAG_DATETIME": "2023:01:01 10:00:00"})) == "2020-01-02"
    assert format_span(guess_time(Path("a.tif"), {"TIFFTAG_DATETIME": "2023:01:01 10:00:00"})) == "2023-01-01"


def test_tags_without_a_zone_are_utc_and_impossible_ones_ignored() -> None:
    span = guess_time(Path("a.tif"), {"TIFFTAG_DATETIME": "2023:01:01 10:00:00"})
    assert span is not None and span.start == datetime.fromisoformat("2023-01-01T10:00:00+00:00")
    for text in ("0000:00:00 00:00:00", "1970-13-01", "soon", "1900:01:01 00:00:00"):
        assert guess_time(Path("a.tif"), {"TIFFTAG_DATETIME": text}) is None


@given(st.text(max_size=40).filter(lambda t: "/" not in t and "\0" not in t))
def test_any_name_gives_a_possible_date_or_none(name: str) -> None:
    span = guess_time(Path(name), {})
    assert span is None or (span.start is not None and span.start.year >= 1950)


@pytest.mark.parametrize(
    ("path", "sensor"),
    [
        ("m_4709963_se_14_1_20090818.tif", "naip"),
        ("LE70220491999322EDC01_stack.tif", "landsat-7"),
        ("LC08_L1TP_044034_20170614_20170628_01_T1_B4.TIF", "landsat-8"),
        ("landsat7_olinda.tif", "landsat-7"),
        ("landsat/1985.tif", "landsat"),
        ("sentinel1_vv_db.tif", "sentinel-1"),
        ("S2A_MSIL2A_20210605T104021.tif", "sentinel-2"),
        ("elevation/dsm.tif", None),
        ("photo.png", None),
    ],
)
def test_sensors_in_names(path: str, sensor: str | None) -> None:
    assert guess_sensor(Path(path), {}) == sensor


def test_tags_name_the_sensor_first() -> None:
    assert guess_sensor(Path("naip/x.tif"), {"SPACECRAFT_ID": "LANDSAT_8"}) == "landsat-8"


@pytest.mark.parametrize(
    "name",
    ["LC80000009999366LGN00.tif", "LC80000000000001LGN00.tif", "LC80000002019366LGN00.tif", "LC80000002019000X.tif"],
)
def test_a_scene_id_with_an_impossible_day_has_no_date(name: str) -> None:
    assert guess_time(Path(name), {}) is None
