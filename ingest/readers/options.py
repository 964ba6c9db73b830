"""What users say about images, from the plain values that are kept with a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsrag.ingest.readers.bands import parse_bands
from rsrag.ingest.readers.base import ReadOptions


def read_options(said: Mapping[str, Any]) -> ReadOptions:
    """Options for the readers.

    Args:
        said: fields of :class:`ReadOptions` by name; ``bands`` as text, rules separated by semicolons.

    Raises:
        UsageError: a band mapping that cannot be read.
    """
    rules = tuple(parse_bands(rule) for rule in (said.get("bands") or "").split(";") if rule.strip())
    rest = {name: value for name, value in said.items() if name != "bands"}
    return ReadOptions(bands=rules, **rest)
