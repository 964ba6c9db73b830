"""Sentences made from class names, and the forms in which two sentences count as equal."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from rsrag.errors import ConfigError

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
SENTINEL = (
    "{}",
    "a satellite image of {}",
    "a Sentinel-2 image of {}",
    "{} seen from space",
    "a medium resolution satellite image showing {}",
    "a centered satellite photo of {}",
    "land cover: {}",
    "satellite imagery of {} at ten metres per pixel",
    "this is {} from orbit",
    "a multispectral image in true colour with {}",
)
BANKS = {"default": TEMPLATES, "sentinel": SENTINEL}
"""Template banks by name: ``default`` for pictures from the air and space alike, ``sentinel`` for 10 m and coarser."""

_FILLERS = frozenset(re.findall(r"\w+", "a an the is are was were be been being there here this that these those it"))


def words(name: str) -> str:
    """A class name in words: ``"SeaLake"`` and ``"sea_lake"`` become ``"sea lake"``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[\s_\-]+", " ", spaced).strip().lower()


def sentences(names: Iterable[str], templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Every template filled with every name."""
    return [template.replace("{}", name) for name in names for template in templates]


def templates_for(bank: str, data_dir: Path) -> tuple[str, ...]:
    """A template bank by name, or the lines of a text file.

    Args:
        bank: ``"default"``, ``"sentinel"`` or a path relative to ``data_dir``; in the file, empty lines and lines that
            begin with ``#`` are skipped.
        data_dir: where paths begin.

    Raises:
        ConfigError: no such bank or file, or a line without exactly one ``{}``.
    """
    if bank in BANKS:
        return BANKS[bank]
    path = Path(data_dir) / bank
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as exc:
        hint = f"use {', '.join(BANKS)} or a text file"
        raise ConfigError(f"data.sources.templates: cannot read {path}: {exc}", hint=hint) from exc
    found = tuple(line for line in lines if line and not line.startswith("#"))
    wrong = [line for line in found if line.count("{}") != 1 or set("{}") & set(line.replace("{}", ""))]
    if wrong or not found:
        raise ConfigError(f"{path}: every template needs exactly one {{}}: {(wrong or ['the file is empty'])[0]!r}")
    return found


def read_labels(path: Path) -> dict[str, list[str]]:
    """Names of classes in words from a JSON file: ``{"SeaLake": "sea or lake", "Forest": ["forest", "woodland"]}``.

    Raises:
        ConfigError: unreadable, or another structure.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"data.sources.labels_file: cannot read {path}: {exc}") from exc
    names = {k: [v] if isinstance(v, str) else v for k, v in table.items()} if isinstance(table, dict) else None
    if names is None or any(
        not isinstance(options, list) or not options or not all(isinstance(o, str) and o.strip() for o in options)
        for options in names.values()
    ):
        raise ConfigError(f"{path} must map every class to a name or a list of names")
    return names


def normal(text: str) -> str:
    """The form in which two captions are the same words: lower case, letters and digits only, single spaces.

    The signs that a letter bears are part of it: they are the vowels of Devanagari, Bengali or Thai.
    """
    lower = text.lower()
    if lower.isascii():
        return " ".join(re.findall(r"[a-z0-9]+", lower))
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in unicodedata.normalize("NFC", lower))
    return " ".join(word for word in "".join(kept).split() if any(map(str.isalnum, word)))


def gist(text: str) -> str:
    """The form in which two captions say the same: :func:`normal` without articles, forms of "be" and "there".

    ``"There are many trees in the park."`` and ``"Many trees in a park"`` agree. Prepositions, numbers and "no" stay.
    """
    form = normal(text)
    return " ".join(word for word in form.split() if word not in _FILLERS) or form


def merge_groups(names: dict[str, list[str]]) -> dict[str, int]:
    """Number classes so that classes sharing any of their names, in the form of :func:`gist`, get one number.

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
            first = owner.setdefault(gist(option) or option, key)
            parent[root(key)] = root(first)
    numbers: dict[str, int] = {}
    return {key: numbers.setdefault(root(key), len(numbers)) for key in names}
