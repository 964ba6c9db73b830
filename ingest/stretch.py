"""How band values become the 8-bit picture that an encoder sees: the same for every tile of a scene, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.ingest.readers.base import Pixels

Picture = npt.NDArray[np.uint8]
LOW, HIGH = 2.0, 98.0
"""Percentiles of the valid values that become black and white."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of the picture: the band at ``position`` in the data, ``low`` becoming 0 and ``high`` 255."""

    position: int
    role: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A linear mapping of one or three bands to 8 bits. One channel gives a grey picture.

    ``how`` names where the limits came from: "identity", "bits" or "percentile 2-98".
    """

    channels: tuple[Channel, ...]
    how: str

    @property
    def text(self) -> str:
        """The record kept with the scene: ``percentile 2-98: red 301..2710; green 402..2533; blue 380..2410``."""
        if self.how == "identity":
            return "identity: " + "; ".join(c.role for c in self.channels)
        return f"{self.how}: " + "; ".join(f"{c.role} {c.low:.6g}..{c.high:.6g}" for c in self.channels)

    def apply(self, pixels: Pixels) -> Picture:
        """The 8-bit picture, uint8 of shape [height, width, 3]; invalid pixels are black."""
        seen = []
        for channel in self.channels:
            band = pixels.data[channel.position]
            if self.how != "identity" or band.dtype != np.uint8:
                with np.errstate(over="ignore", invalid="ignore"):  # far outside the limits: black or white
                    scaled = (band.astype(np.float32) - channel.low) * (255.0 / (channel.high - channel.low))
                np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
                band = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
            seen.append(np.ascontiguousarray(band))
        picture: Picture = np.asarray(cv2.merge(seen * 3 if len(seen) == 1 else seen))
        if not pixels.mask.all():
            picture[~pixels.mask] = 0
        return picture


def identity(positions: Sequence[int], roles: Sequence[str]) -> Stretch:
    """Eight-bit values as they are."""
    return Stretch(tuple(Channel(p, r, 0.0, 255.0) for p, r in zip(positions, roles, strict=True)), "identity")


def full_range(positions: Sequence[int], roles: Sequence[str], bits: int) -> Stretch:
    """Every value that ``bits`` can hold, for masks and other files of less than eight bits."""
    top = float(2**bits - 1)
    return Stretch(tuple(Channel(p, r, 0.0, top) for p, r in zip(positions, roles, strict=True)), f"{bits} bits")


def percentiles(positions: Sequence[int], roles: Sequence[str], samples: Sequence[Pixels]) -> Stretch:
    """Limits at the 2nd and 98th percentile of the valid sample values, each band by itself.

    A band without spread, or without valid values, gets limits one apart, so that nothing is divided by zero.
    """
    channels = []
    for position, role in zip(positions, roles, strict=True):
        valid = [s.data[position][s.mask] for s in samples]
        channels.append(Channel(position, role, *_limits(np.concatenate(valid) if valid else np.zeros(0))))
    return Stretch(tuple(channels), f"percentile {LOW:g}-{HIGH:g}")


def _limits(values: npt.NDArray[Any]) -> tuple[float, float]:
    values = values.astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (LOW, HIGH)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    # Rounded as they are recorded, so that the record reproduces the picture.
    low, high = float(f"{low:.6g}"), float(f"{high:.6g}")
    return (low, high) if high > low else (low, float(f"{low + max(1.0, abs(low) * 1e-4):.6g}"))
