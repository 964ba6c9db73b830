"""Coordinates as people write them: one value of a column, and whole positions within a text."""

from __future__ import annotations

import math
import re
from typing import Literal

from rsrag.types import Position

Axis = Literal["lat", "lon"]

_NUMBER = r"[-+−–]?\d{1,3}(?:[.,]\d+)?"
_DMS = r"""
    (?P<{0}d>[-+−–]?\d{{1,3}}(?:[.,]\d+)?) \s* (?:°|º|˚|deg(?:rees)?\b)? \s*
    (?:
        (?P<{0}m>\d{{1,2}}(?:\.\d+)?) \s* (?:['’′]|min\b) \s*
        (?: (?P<{0}s>\d{{1,2}}(?:\.\d+)?) \s* (?:["”″]|''|sec\b) \s* )?
    )?
"""
_VALUE = re.compile(rf"(?P<before>[NSEW])?\s*{_DMS.format('')}(?P<after>[NSEWO])?", re.VERBOSE | re.IGNORECASE)
_PAIR = re.compile(
    rf"(?<![\w.]){_DMS.format('a')} (?P<ah>[NS]) \b [\s,;/]* {_DMS.format('b')} (?P<bh>[EW]) \b",
    re.VERBOSE,
)
_PAIR_BEFORE = re.compile(
    rf"\b (?P<ah>[NS]) \s* {_DMS.format('a')} [\s,;/]+ (?P<bh>[EW]) \s* {_DMS.format('b')}",
    re.VERBOSE,
)
_LABELLED = re.compile(
    rf"\b(lat(?:itude)?|lon(?:g|gitude)?|lng)\b\.?\s*[:=]?\s*({_NUMBER})\s*°?\s*([NSEW]\b)?[\s,;]*(?:and\s+)?"
    rf"\b(lat(?:itude)?|lon(?:g|gitude)?|lng)\b\.?\s*[:=]?\s*({_NUMBER})(?![\d])\s*°?\s*([NSEW]\b)?",
    re.IGNORECASE,
)
_MINUS = str.maketrans({"−": "-", "–": "-", ",": "."})


def degrees(text: str, axis: Axis) -> float:
    """One coordinate: decimal degrees, a decimal comma, a hemisphere letter, or degrees, minutes and seconds.

    The range is not checked: latitude 120 is read, so that whoever checks it can say what it looks like.

    Raises:
        ValueError: not a coordinate, of the other axis ("7.9 E" as a latitude), of an unclear side ("7.9 O"), or one
            whose sign and letter contradict each other ("-33.5 N").
    """
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        if not math.isfinite(value):
            raise ValueError(f"{text!r} is not a coordinate")
        return value
    text = text.strip()
    match = _VALUE.fullmatch(text) if len(text) <= 40 else None
    if match is None or (match["before"] and match["after"]):
        raise ValueError(f"{text[:40]!r} is not a coordinate")
    letter = (match["before"] or match["after"] or "").upper()
    if letter == "O":
        raise ValueError(
            f"{text!r} is not a clear coordinate: O is west in French and Spanish, east in German; use W or E"
        )
    if letter and letter not in ("NS" if axis == "lat" else "EW"):
        raise ValueError(f"{text!r} is not a {'latitude' if axis == 'lat' else 'longitude'}")
    return _signed(match["d"], match["m"], match["s"], letter)


def _signed(d: str, m: str | None, s: str | None, letter: str) -> float:
    """Degrees from their parts. A minus beside S or W says the same once more; beside N or E it contradicts them.

    Raises:
        ValueError: minutes or seconds that are none, or a contradiction.
    """
    whole = d.translate(_MINUS)
    minutes, seconds = float(m or 0), float(s or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError("minutes and seconds are below 60")
    value = abs(float(whole)) + minutes / 60 + seconds / 3600
    minus = whole.startswith("-")
    if minus and letter in ("N", "E"):
        raise ValueError(f"{d} {letter} is not a coordinate: the sign contradicts the letter")
    return -value if minus or letter in ("S", "W") else value


def positions(text: str) -> list[Position]:
    """Positions written in a text, in order and without repeats; what is not on Earth is left out.

    Read are "46.5°N 7.9°E", "46°30'N, 7°54'36"E", "N 46.5 E 7.9" and "lat: 46.5, lon: 7.9" (either order).

    Returns:
        (longitude, latitude) pairs in degrees.
    """
    text = " ".join(text.split())
    found: list[tuple[int, Position]] = []
    for pattern in (_PAIR, _PAIR_BEFORE):
        for match in pattern.finditer(text):
            try:
                lat = _signed(match["ad"], match["am"], match["as"], match["ah"])
                lon = _signed(match["bd"], match["bm"], match["bs"], match["bh"])
            except ValueError:
                continue
            found.append((match.start(), (lon, lat)))
    for match in _LABELLED.finditer(text):
        first, second = match[1][:2].lower(), match[4][:2].lower()
        if (first == "la") != (second == "la"):
            try:
                a = _signed(match[2], None, None, (match[3] or "").upper())
                b = _signed(match[5], None, None, (match[6] or "").upper())
            except ValueError:
                continue
            found.append((match.start(), (b, a) if first == "la" else (a, b)))
    unique = dict.fromkeys(p for _, p in sorted(found) if abs(p[0]) <= 180 and abs(p[1]) <= 90)
    return list(unique)
