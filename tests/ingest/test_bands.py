"""Which band is which."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsrag.errors import UnsupportedSource, UsageError
from rsrag.ingest.readers.bands import LAYOUTS, ROLES, find_roles, parse_bands, picture_of, role_of, unnamed


def test_what_the_user_says_counts_alone() -> None:
    roles = find_roles("a.tif", 5, rule=parse_bands("red=4,green=3,blue=2,nir=5"), descriptions=["nir"] * 5)
    assert roles == (None, "blue", "green", "red", "nir")
    assert picture_of(roles) == (3, 2, 1)


def test_a_rule_with_a_pattern_speaks_about_matching_paths_only() -> None:
    rule = parse_bands("landsat/*.tif:swir16=1,nir=2,red=3,green=4")
    assert rule.fits(Path("/data/landsat/1985.tif"))
    assert not rule.fits(Path("/data/naip/1985.tif"))
    assert rule.roles == {"swir16": 1, "nir": 2, "red": 3, "green": 4}


@pytest.mark.parametrize("text", ["", "red", "red=0", "red=x", "purple=1", "red=1,red=2", "red=1,green=1"])
def test_mappings_that_make_no_sense_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bands(text)


def test_a_mapping_beyond_the_bands_is_named() -> None:
    with pytest.raises(UnsupportedSource, match="red=9"):
        find_roles("a.tif", 3, rule=parse_bands("red=9,green=2,blue=1"))


@pytest.mark.parametrize(("text", "count"), [("red=1,nir=2", 2), ("red=1,green=2", 4)])
def test_a_mapping_that_makes_no_picture_says_what_is_missing(text: str, count: int) -> None:
    with pytest.raises(UnsupportedSource, match="no picture can be made of them") as caught:
        find_roles("a.tif", count, rule=parse_bands(text))
    assert ", ".join(parse_bands(text).roles) in caught.value.message
    assert "unknown" not in caught.value.message
    assert "red green blue" in (caught.value.hint or "") and "grey=1" in (caught.value.hint or "")


def test_numbered_bands_with_8a_are_those_of_sentinel_2() -> None:
    numbers = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    roles = find_roles("a.tif", 10, descriptions=numbers)
    assert roles[:3] == ("blue", "green", "red") and roles[6:] == ("nir", "nir08", "swir16", "swir22")
    for others in (("B02", "B03", "B04", "B08"), ("B02", "B03", "B04", "AB8A")):
        with pytest.raises(UnsupportedSource, match="unknown meaning"):
            find_roles("a.tif", 4, descriptions=others)


def test_catalogue_entry_before_description_before_colour_before_layout() -> None:
    said = dict(colours=["red", "green", "blue", "undefined"], sensor="naip")
    assert find_roles("a", 4, **said) == ("red", "green", "blue", "nir")
    assert find_roles("a", 4, descriptions=["blue", "green", "red", None], **said)[:3] == ("blue", "green", "red")
    hinted = ["nir", "red", "green", "blue"]
    assert find_roles("a", 4, hinted=hinted, descriptions=["blue", "green", "red", None], **said) == tuple(hinted)


def test_thirteen_bands_are_sentinel_2_only_when_the_sensor_says_so() -> None:
    assert find_roles("a", 13, sensor="sentinel-2")[7] == "nir"
    with pytest.raises(UnsupportedSource, match="13 bands of unknown meaning") as caught:
        find_roles("a.tif", 13)
    assert "--bands" in (caught.value.hint or "")


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_unknown_bands_are_never_the_first_three(count: int) -> None:
    with pytest.raises(UnsupportedSource):
        find_roles("a.tif", count, colours=["gray", *["undefined"] * (count - 1)])


def test_one_band_is_grey_and_grey_with_alpha_too() -> None:
    assert find_roles("a", 1, colours=["gray"]) == ("grey",)
    assert find_roles("a", 2, colours=["gray", "alpha"]) == ("grey", "alpha")


def test_pictures_without_natural_colour() -> None:
    assert picture_of(("swir16", "nir", "red", "green")) == (0, 1, 2)
    assert picture_of(("green", "red", "nir")) == (2, 1, 0)
    assert picture_of(("vh", "vv")) == (1,)
    assert picture_of((None, None)) is None


@pytest.mark.parametrize(
    ("text", "sensor", "role"),
    [
        ("Red", None, "red"),
        ("SWIR 1", None, "swir16"),
        ("Near Infrared", None, "nir"),
        ("B8A", "sentinel-2", "nir08"),
        ("B08", "sentinel-2", "nir"),
        ("SR_B4", "landsat-8", "red"),
        ("SR_B4", "landsat-7", "nir"),
        ("band 7 reflectance", "landsat-7", "swir22"),
        ("band 6 temperature", "landsat-7", None),
        ("QA_PIXEL", "landsat-8", None),
        ("B4", None, None),
        ("red or green", None, None),
        ("", None, None),
    ],
)
def test_descriptions(text: str, sensor: str | None, role: str | None) -> None:
    assert role_of(text, sensor) == role


def test_layouts_use_known_roles_in_the_right_number() -> None:
    for sensor, layouts in LAYOUTS.items():
        for count, roles in layouts.items():
            assert len(roles) == count, sensor
            assert set(roles) <= set(ROLES), sensor


def test_an_unnamed_picture_is_shown_as_stored_and_nothing_else() -> None:
    colours = ["gray", "undefined", "undefined", "undefined"]
    roles = find_roles("a.tif", 4, colours=colours, eight_bit=True)
    assert roles == ("band1", "band2", "band3", "band4")
    assert picture_of(roles) == (0, 1, 2)
    assert unnamed(roles)
    assert not unnamed(("red", "green", "blue"))
    for count in (5, 13):
        with pytest.raises(UnsupportedSource, match="unknown meaning"):
            find_roles("a.tif", count, eight_bit=True)
    with pytest.raises(UnsupportedSource, match="unknown meaning"):
        find_roles("a.tif", 4, colours=colours)
