"""What file names and tags say about an image: when it was taken, and by which sensor.

Order of trust for the time: acquisition tags, then the file's name, then the name of its folder when that is a bare
year, then the general TIFF date (which is often the day of processing). Dates that do not exist, lie before aerial
photography from space (1950) or in the future are ignored: unknown time is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rsrag.errors import BadTimeSpan
from rsrag.times import parse_time
from rsrag.types import TimeSpan

FIRST_YEAR = 1950
_ACQUISITION_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATE",
    "ACQUISITION_TIME",
    "ACQUISITIONDATE",
    "DATE_ACQUIRED",
    "SENSING_TIME",
    "DATATAKE_1_DATATAKE_SENSING_START",
    "PRODUCT_START_TIME",
    "START_TIME",
    "DATETIME",
    "DATE",
)
_SENSOR_TAGS = ("SATELLITEID", "SPACECRAFT_ID", "PLATFORM", "DATATAKE_1_SPACECRAFT_NAME", "SENSOR", "MISSION")

_LANDSAT_SCENE = re.compile(r"(?<![A-Za-z0-9])L[CETMO][4-9]\d{6}(\d{4})(\d{3})(?=[A-Z]{3}\d{2}|\D|$)")
_STAMP = re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2}))?(?!\d)")
_DASHED = re.compile(r"(?<!\d)(\d{4})([-_.])(\d{2})\2(\d{2})(?!\d)")
_MONTH = re.compile(r"(?<![\d-])(\d{4})-(\d{2})(?![\d-])")

_SENSORS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"(?<![a-z0-9])m_\d{7}_(?:ne|nw|se|sw)_", "naip"),
        (r"(?<![a-z])naip(?![a-z])", "naip"),
        (r"(?<![a-z0-9])L[CETMO]([4-9])\d{13}", r"landsat-\1"),
        (r"(?<![a-z0-9])L[CETMO]0([4-9])_", r"landsat-\1"),
        (r"(?<![a-z])landsat[-_ ]?0?([1-9])(?!\d)", r"landsat-\1"),
        (r"(?<![a-z])landsat(?![a-z])", "landsat"),
        (r"(?<![a-z0-9])S1[A-D]?_", "sentinel-1"),
        (r"(?<![a-z])sentinel[-_ ]?0?([1-356])(?!\d)", r"sentinel-\1"),
        (r"(?<![a-z0-9])S2[A-D]?_", "sentinel-2"),
        (r"(?<![a-z0-9])T\d{2}[A-Z]{3}_\d{8}T\d{6}_", "sentinel-2"),
        (r"(?<![a-z])modis(?![a-z])", "modis"),
        (r"(?<![a-z])viirs(?![a-z])", "viirs"),
        (r"(?<![a-z])planetscope(?![a-z])", "planetscope"),
        (r"(?<![a-z])worldview[-_ ]?([1-4])(?!\d)", r"worldview-\1"),
        (r"(?<![a-z])(pleiades|spot|rapideye|aster)(?![a-z])", r"\1"),
    )
)


def guess_sensor(path: Path, tags: Mapping[str, str]) -> str | None:
    """The sensor by metadata, else by the file's name, else by the names of the two folders above; None if unknown."""
    upper = {key.upper(): value for key, value in tags.items()}
    texts = [upper[key] for key in _SENSOR_TAGS if upper.get(key)]
    texts += [path.name, *(parent.name for parent in list(path.parents)[:2])]
    return next((name for name in map(sensor_name, texts) if name), None)


def sensor_name(text: str) -> str | None:
    """The sensor that a text names, in its usual spelling ("sentinel-2", "landsat-7", "naip")."""
    for pattern, name in _SENSORS:
        if match := pattern.search(text):
            return match.expand(name).lower()
    return None


def guess_time(path: Path, tags: Mapping[str, str]) -> TimeSpan | None:
    """When an image was taken, as far as its tags and name tell; see the module for the order."""
    upper = {key.upper(): value for key, value in tags.items()}
    for key in _ACQUISITION_TAGS:
        if (value := upper.get(key)) and (span := time_of_text(value)):
            return span
    if span := time_of_name(path):
        return span
    value = upper.get("TIFFTAG_DATETIME")
    return time_of_text(value) if value else None


def time_of_text(text: str) -> TimeSpan | None:
    """A date as metadata write it (ISO 8601, or EXIF's ``YYYY:MM:DD HH:MM:SS``); None if it is none."""
    text = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip().strip("\0")).replace("/", "-")
    if re.fullmatch(r"\d{8}", text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    try:
        return _possible(parse_time(text))
    except BadTimeSpan:
        return None


def time_of_name(path: Path) -> TimeSpan | None:
    """A date in a file's name: a Landsat scene id, a day or a month; a year that is the one number beside the name of a
    sensor; or a file or folder named by a year alone.
    """
    stem = path.stem
    for match in _LANDSAT_SCENE.finditer(stem):
        try:
            date = datetime.strptime(f"{match[1]} {match[2]}", "%Y %j")
        except ValueError:  # the year 0 or day 0
            continue
        # Day 366 of a short year is read as the first of the next one.
        if date.year == int(match[1]) and (span := _possible(parse_time(date.date().isoformat()))):
            return span
    for match in _STAMP.finditer(stem):
        text = f"{match[1]}-{match[2]}-{match[3]}" + (f"T{match[4]}:{match[5]}:{match[6]}" if match[4] else "")
        if span := time_of_text(text):
            return span
    for match in _DASHED.finditer(stem):
        if span := time_of_text(f"{match[1]}-{match[3]}-{match[4]}"):
            return span
    for match in _MONTH.finditer(stem):
        if span := time_of_text(f"{match[1]}-{match[2]}"):
            return span
    if span := _year_beside_sensor(stem):
        return span
    # A number beside other words ("airport_1999") is more often a counter than a year.
    for name in (stem, path.parent.name):
        if re.fullmatch(r"\d{4}", name) and (span := time_of_text(name)):
            return span
    return None


def _year_beside_sensor(stem: str) -> TimeSpan | None:
    """The year in a name with no other number but the sensor's own: ``landsat_8_pucallpa_2019``.

    The sensor must be spelled out: a number beside a code (``S2_1999``) is more often a counter.
    """
    match = next((m for pattern, _ in _SENSORS if (m := pattern.search(stem))), None)
    if match is None or not re.match(r"[A-Za-z]{4}", match[0]):
        return None
    words = re.split(r"[-_. ]+", f"{stem[: match.start()]} {stem[match.end() :]}")
    numbers = [word for word in words if word.isdigit()]
    return time_of_text(numbers[0]) if len(numbers) == 1 and re.fullmatch(r"\d{4}", numbers[0]) else None


def _possible(span: TimeSpan) -> TimeSpan | None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    if span.start is None or span.start.year < FIRST_YEAR or span.start > tomorrow:
        return None
    return span
