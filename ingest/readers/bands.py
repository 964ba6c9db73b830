"""Which band is which, and which of them make the picture.

Roles are the STAC common names (red, green, blue, nir, rededge071, swir16, ...), ``vv``, ``vh``, ``hh``, ``hv``,
``pan``, ``grey`` and ``alpha``. They are found in this order, and a later step only fills what an earlier one left
open:

1. what the user says: ``red=4,green=3,blue=2,nir=5`` (then nothing else is looked at);
2. what a STAC Item says about the asset's bands;
3. the file's own band descriptions, then its colour interpretation;
4. the layout of a known sensor, when the number of bands fits exactly;
5. a single band is grey.

A file whose picture bands stay unknown is refused by name: the first three bands of something are not a picture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rsrag.errors import UnsupportedSource, UsageError
from rsrag.ingest.readers.base import BandRule

_S2 = (
    *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078"),
    *("nir", "nir08", "nir09", "cirrus", "swir16", "swir22"),
)
_TM = ("blue", "green", "red", "nir", "swir16", "lwir", "swir22")
_OLI = ("coastal", "blue", "green", "red", "nir", "swir16", "swir22")
_OLI_TIRS = (*_OLI, "pan", "cirrus", "lwir11", "lwir12")
ROLES = (
    *dict.fromkeys((*_S2, *_TM, *_OLI_TIRS)),
    *("green05", "yellow", "rededge", "swir12", "vv", "vh", "hh", "hv", "grey", "alpha"),
)
LAYOUTS: dict[str, dict[int, tuple[str, ...]]] = {
    # Bands in the order of the sensor's own numbering.
    "naip": {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "nir")},
    "sentinel-2": {13: _S2, 12: tuple(r for r in _S2 if r != "cirrus")},
    **{f"landsat-{n}": {6: tuple(r for r in _TM if r != "lwir"), 7: _TM} for n in (4, 5, 7)},
    **{f"landsat-{n}": {7: _OLI, 11: _OLI_TIRS} for n in (8, 9)},
    "sentinel-1": {1: ("vv",), 2: ("vv", "vh")},
}
# Band numbers as descriptions write them ("B8A", "SR_B4", "band 3 reflectance").
_S2_NUMBERS = ("1", "2", "3", "4", "5", "6", "7", "8", "8a", "9", "10", "11", "12")
_NUMBERED: dict[str, dict[str, str]] = {
    "sentinel-2": dict(zip(_S2_NUMBERS, _S2, strict=True)),
    **{f"landsat-{n}": {str(i): role for i, role in enumerate(_TM, 1)} for n in (4, 5, 7)},
    **{f"landsat-{n}": {str(i): role for i, role in enumerate(_OLI_TIRS, 1)} for n in (8, 9)},
}
_SYNONYMS = {
    "r": "red",
    "g": "green",
    "b": "blue",
    "gray": "grey",
    "panchromatic": "pan",
    "nearinfrared": "nir",
    "nearir": "nir",
    "nir1": "nir",
    "nirnarrow": "nir08",
    "narrownir": "nir08",
    "nir8a": "nir08",
    "watervapour": "nir09",
    "watervapor": "nir09",
    "coastalaerosol": "coastal",
    "ultrablue": "coastal",
    "swir1": "swir16",
    "swir2": "swir22",
    "shortwaveinfrared1": "swir16",
    "shortwaveinfrared2": "swir22",
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
    "thermal": "lwir",
    "tir": "lwir",
}
_S2_ALONE = re.compile(r"(?<![a-z0-9])b0?8a(?![a-z0-9])", re.IGNORECASE)
"""A band that no sensor but Sentinel-2's has: where it is described, the others are numbered as there."""
_NOT_LIGHT = re.compile(r"temperature|thermal|kelvin|quality|qa|mask|cloud|angle|scl", re.IGNORECASE)
_PICTURES = (("red", "green", "blue"), ("swir16", "nir", "red"), ("nir", "red", "green"))
AS_STORED = ("band1", "band2", "band3")
"""Roles of the first bands of a picture whose bands nobody named."""
_GREYS = ("pan", "grey", "vv", "hh", "vh", "hv")


def parse_bands(text: str) -> BandRule:
    """Band roles as users write them: ``red=4,green=3,blue=2``, or ``landsat/*.tif:swir16=1,nir=2,red=3``.

    Raises:
        UsageError: not of that form, an unknown role or a number below 1.
    """
    pattern, colon, pairs = text.rpartition(":")
    hint = "write roles and band numbers, such as red=4,green=3,blue=2,nir=5"
    roles: dict[str, int] = {}
    for pair in pairs.split(","):
        role, equals, number = (part.strip() for part in pair.partition("="))
        name = role_of(role)
        if not equals or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"band mapping {text!r} cannot be read at {pair!r}", hint=hint)
        if name is None:
            raise UsageError(f"unknown band role {role!r}", hint=f"one of {', '.join(ROLES)}")
        if name in roles or int(number) in roles.values():
            raise UsageError(f"band mapping {text!r} names {pair.strip()!r} twice", hint=hint)
        roles[name] = int(number)
    return BandRule(roles, pattern.strip() if colon else None)


def role_of(text: str | None, sensor: str | None = None) -> str | None:
    """The role that a band's description names, by itself ("Red", "SWIR 1") or by its number for a known sensor."""
    if not text:
        return None
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
    squeezed = words.replace(" ", "")
    if squeezed in ROLES:
        return squeezed
    if squeezed in _SYNONYMS:
        return _SYNONYMS[squeezed]
    numbered = _NUMBERED.get(sensor or "")
    if numbered and not _NOT_LIGHT.search(text):
        match = re.search(r"(?:^|\s)(?:sr |toa )?b(?:and)? ?0?(\d{1,2}a?)(?:$|\s)", words)
        if match and match[1] in numbered:
            return numbered[match[1]]
    found = [w for w in words.split() if w in ROLES or (w in _SYNONYMS and len(w) > 2)]
    if len(found) == 1 and not _NOT_LIGHT.search(text):
        return _SYNONYMS.get(found[0], found[0])
    return None


def find_roles(
    name: str,
    count: int,
    *,
    rule: BandRule | None = None,
    hinted: Sequence[str | None] = (),
    descriptions: Sequence[str | None] = (),
    colours: Sequence[str | None] = (),
    sensor: str | None = None,
    eight_bit: bool = False,
) -> tuple[str | None, ...]:
    """The role of every band of a file, in file order; None for bands that mean nothing to us.

    Three or four bands of 8 bits that nobody named are somebody's picture: it is shown as it lies in the file, its
    bands are called band1 to band4 so that no index is computed from them, and the caller says so (see
    :func:`unnamed`). More bands, or other data types, are refused.

    Args:
        name: the file, for messages.
        count: number of bands.
        rule: what the user said.
        hinted: roles from a catalogue entry.
        descriptions: band descriptions of the file.
        colours: colour interpretation by name ("red", "gray", "undefined", ...).
        sensor: as found by name or tags.
        eight_bit: whether all bands are unsigned 8-bit values.

    Raises:
        UnsupportedSource: a mapping names a band that is not there, or no picture can be made.
    """
    roles: list[str | None] = [None] * count
    if rule is not None:
        for role, number in rule.roles.items():
            if number > count:
                raise UnsupportedSource(f"{name}: the band mapping says {role}={number}, but it has {count} bands")
            roles[number - 1] = role
        _mark_alpha(roles, colours)
    else:
        if sensor is None and any(_S2_ALONE.search(d or "") for d in descriptions):
            sensor = "sentinel-2"
        _fill(roles, [role_of(h, sensor) for h in hinted])
        _fill(roles, [role_of(d, sensor) for d in descriptions])
        colour_roles = [None if c in ("gray", "undefined", "palette") else role_of(c) for c in colours]
        _fill(roles, colour_roles)
        _fill(roles, LAYOUTS.get(sensor or "", {}).get(count, []))
        light = [i for i, role in enumerate(roles) if role != "alpha"]
        if len(light) == 1 and roles[light[0]] is None:
            roles[light[0]] = "grey"
    if picture_of(roles) is None and rule is None and eight_bit and count in (3, 4) and not any(roles):
        roles = [f"band{i}" for i in range(1, count + 1)]
    if picture_of(roles) is None and rule is not None:
        raise UnsupportedSource(
            f"{name}: the band mapping names {', '.join(rule.roles)} of {count} bands: no picture can be made of them",
            hint=f"name {', '.join(' '.join(p) for p in _PICTURES[:-1])} or {' '.join(_PICTURES[-1])}; or one band "
            "that is shown in grey, such as grey=1",
        )
    if picture_of(roles) is None:
        raise UnsupportedSource(
            f"{name}: {count} bands of unknown meaning",
            hint="say which is which, such as --bands red=4,green=3,blue=2,nir=5, or --bands grey=1",
        )
    return tuple(roles)


def unnamed(roles: Sequence[str | None]) -> bool:
    """Whether a picture is made of bands that nobody named."""
    return picture_of(roles) is not None and roles[0] == AS_STORED[0]


def _fill(roles: list[str | None], found: Sequence[str | None]) -> None:
    if len(found) != len(roles):
        return
    for i, role in enumerate(found):
        if roles[i] is None and role is not None and role not in roles:
            roles[i] = role


def _mark_alpha(roles: list[str | None], colours: Sequence[str | None]) -> None:
    for i, colour in enumerate(colours):
        if colour == "alpha" and roles[i] is None:
            roles[i] = "alpha"


def picture_of(roles: Sequence[str | None]) -> tuple[int, ...] | None:
    """Positions of the bands that make the picture: three, or one for grey; None when there is no way.

    Natural colour where there is one; else short-wave infrared, near infrared, red, in which plants are green and water
    dark as in natural colour; else near infrared, red, green.
    """
    for picture in (*_PICTURES, AS_STORED):
        if all(role in roles for role in picture):
            return tuple(roles.index(role) for role in picture)
    for grey in _GREYS:
        if grey in roles:
            return (roles.index(grey),)
    known = [i for i, role in enumerate(roles) if role not in (None, "alpha")]
    return (known[0],) if len(known) == 1 and len([r for r in roles if r != "alpha"]) == 1 else None
