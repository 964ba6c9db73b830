"""What is asked of the adapter ``segment``, and what may not be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsrag.errors import UsageError

METHODS = ("auto", "decoder", "detector", "refined", "heat")
BAND = 0.1
"""The low and high area are those at thresholds so much above and below the one asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentRequest:
    """What to outline, and how.

    Attributes:
        image: file, bytes, array, or id of a scene or tile of the archive.
        text: what to outline, such as "water".
        threshold: score from which a pixel belongs to it.
        method: "auto" (the pixel decoder for the words it was trained on, all else from the heat map), "decoder",
            "detector" (its things box by box), "refined" (from the heat map whatever the words), or "heat" for the heat
            map as it is.
        index: use NDWI for water and NDVI for plants where the bands allow.
        simplify: metres (pixels without a scale) that an outline may move; two pixels when None.
        smallest: least area of an outline in m2 (square pixels without a scale); a few pixels when None.
        bands: which band is what, such as "red=4,green=3,blue=2,nir=8", where the file does not say.
        model: a large segmenter instead of ``method``: a name of the registry, or the directory of a checkpoint.
    """

    image: Any
    text: str
    threshold: float = 0.5
    method: str = "auto"
    index: bool = True
    simplify: float | None = None
    smallest: float | None = None
    bands: str | None = None
    model: str | None = None


def check(request: SegmentRequest, text: str) -> None:
    """Refuse what makes no sense.

    Args:
        request: as given.
        text: its text without an article.

    Raises:
        UsageError: no words, an unknown method, or a number out of range.
    """
    if not any(letter.isalpha() for letter in text):
        raise UsageError(f"{request.text!r} names nothing to outline", hint='such as "water"')
    if request.method not in METHODS:
        raise UsageError(f"method {request.method!r}", hint=f"one of {', '.join(METHODS)}")
    if not BAND < request.threshold < 1 - BAND:
        raise UsageError(
            f"a threshold of {request.threshold:g}", hint=f"between {BAND:g} and {1 - BAND:g}, neither of them"
        )
    for name, value in (("outlines that move by", request.simplify), ("outlines of at least", request.smallest)):
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"{name} {value:g}", hint="a number from 0 on")
