"""Sentences made from class names."""

from __future__ import annotations

import re
from collections.abc import Iterable

TEMPLATES = (
    "{}",
    "a satellite image of {}",
    "an aerial photograph showing {}",
    "{} seen from above",
    "a remote sensing image of {}",
    "an overhead view of {}",
    "satellite imagery of {}",
    "this is a picture of {} from space",
    "there is {} in the scene",
    "an aerial view of the {}",
    "a top-down photo of {}",
    "a scene with {}",
)


def words(name: str) -> str:
    """A class name in words: ``"SeaLake"`` and ``"sea_lake"`` become ``"sea lake"``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[\s_\-]+", " ", spaced).strip().lower()


def sentences(names: Iterable[str]) -> list[str]:
    """Every template filled with every name."""
    return [template.format(name) for name in names for template in TEMPLATES]


def normal(text: str) -> str:
    """The form in which two captions count as equal: lower case, letters and digits only, single spaces."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def merge_groups(names: dict[str, list[str]]) -> dict[str, int]:
    """Number classes so that classes sharing any of their names get one number.

    Args:
        names: for every class key, its names.

    Returns:
        For every class key, its group number.
    """
    parent = {key: key for key in names}

    def root(key: str) -> str:
        while parent[key] != key:
            key = parent[key]
        return key

    owner: dict[str, str] = {}
    for key, options in names.items():
        for option in options:
            first = owner.setdefault(option, key)
            parent[root(key)] = root(first)
    numbers: dict[str, int] = {}
    return {key: numbers.setdefault(root(key), len(numbers)) for key in names}
