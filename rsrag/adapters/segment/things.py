"""Masks of the detector's things: each box cut into thing and ground by GrabCut, scored by the detector.

A heat map does not tell two ships in a harbour apart, boxes do. Every box is cut by itself (Rother et al. 2004, with
what lies around the box as ground), so a mask does not depend on how the scene is cut into windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context, PixelBox
from rsrag.adapters.ground.find import FINEST, everywhere, too_fine
from rsrag.adapters.ground.words import class_of
from rsrag.adapters.look import View
from rsrag.adapters.segment.refine import Scores
from rsrag.errors import BadModelFile
from rsrag.models import groundhead
from rsrag.models.base import Picture
from rsrag.types import Window

LAX = 0.6
"""Boxes down to this share of their class's threshold are kept with a score below 0.5: the lax area has them."""
AROUND = 0.3
"""Ground seen around a box, as a share of its sides."""
_SIDE = 256
_KEPT = 512
"""Masks that are kept, at most a quarter of a megabyte each."""
_FILLED = 0.2
"""A cut that leaves less of a box than this has failed: the ellipse in the box stands for the thing."""


Cut = Callable[[Picture, PixelBox], npt.NDArray[np.float32]]
"""A picture and a box in it to the thing in the box, 0 or 1, float32 [h, w]."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A box in pixels of the scene and its score, 0.5 at the detector's threshold."""

    box: PixelBox
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Things:
    """What the detector found.

    Attributes:
        found: by falling score.
        model: fingerprint of the detector.
        warnings: what is weaker than asked.
    """

    found: tuple[Thing, ...]
    model: str
    warnings: tuple[str, ...] = ()


def things_named(text: str, view: View, context: Context) -> Things | None:
    """What the detector finds of a text; None if it does not know such things.

    Raises:
        BadModelFile: it knows them, and cannot be loaded.
    """
    known = class_of(text)
    if known is None:
        return None
    detector = groundhead.shipped()
    every = everywhere(view, detector.detect, context, finest=FINEST)
    found = []
    for name in known.classes:
        number = detector.classes.index(name)
        limit = detector.thresholds[number]
        own = every.chosen((every.labels == number) & (every.scores >= LAX * limit))
        for (left, top, right, bottom), score in zip(own.boxes.tolist(), own.scores.tolist(), strict=True):
            found.append(Thing((left, top, right, bottom), rescored(score, limit)))
    told = too_fine(view.subject)
    if known.unheard:
        told += (f"{known.unheard!r} is not judged: the detector knows {' or '.join(known.classes)} as such",)
    order = sorted(found, key=lambda thing: -thing.score)
    return Things(tuple(order), detector.fingerprint, told)


def things_if_any(text: str, view: View, context: Context) -> tuple[Things | None, tuple[str, ...]]:
    """What the detector finds of a text; None, and why, where it cannot be loaded and the heat map must do."""
    try:
        return things_named(text, view, context), ()
    except BadModelFile as error:
        return None, (f"the heat map was used, since the detector cannot be: {error.message}",)


def rescored(score: float, limit: float) -> float:
    """A detector's score with its threshold brought to 0.5 and the lax one to 0.4."""
    if score >= limit:
        return 0.5 + 0.5 * (score - limit) / max(1 - limit, 1e-6)
    return 0.4 + 0.1 * (score / limit - LAX) / (1 - LAX)


class Cuts:
    """Things cut out of a scene: each is cut once, and its small mask is kept for the other windows that it reaches.

    Args:
        view: the open image.
        cut: what gives the thing in a box of a picture.
    """

    def __init__(self, view: View, cut: Cut) -> None:
        self._view = view
        self._cut = cut
        self._front = lru_cache(_KEPT)(self._made)

    def part(self, box: PixelBox, window: Window) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]] | None:
        """Rows and columns of a window that a thing may fill, and where it does; None where it does not reach.

        Args:
            box: of the thing, with whose surroundings it is cut out.
            window: of the scene.
        """
        around, front = self._front(box)
        rows = _shared(around.row, around.height, window.row, window.height)
        cols = _shared(around.col, around.width, window.col, window.width)
        if not (len(rows) and len(cols)):
            return None
        # Enlarged by the nearest pixel, and only here: a thing may span the scene.
        y = (rows - around.row) * front.shape[0] // around.height
        x = (cols - around.col) * front.shape[1] // around.width
        spot = (
            slice(int(rows[0]) - window.row, int(rows[-1]) - window.row + 1),
            slice(int(cols[0]) - window.col, int(cols[-1]) - window.col + 1),
        )
        return spot, front[np.ix_(y, x)]

    def _made(self, box: PixelBox) -> tuple[Window, npt.NDArray[np.bool_]]:
        """The window around a box, inside the scene, and the thing in it on a reduced grid."""
        width, height = self._view.subject.width, self._view.subject.height
        dx, dy = (max(4, round(AROUND * side)) for side in (box[2] - box[0], box[3] - box[1]))
        left, top = max(0, math.floor(box[0]) - dx), max(0, math.floor(box[1]) - dy)
        right, bottom = min(width, math.ceil(box[2]) + dx), min(height, math.ceil(box[3]) + dy)
        window = Window(left, top, right - left, bottom - top)
        picture = self._view.picture(window, longest=2 * _SIDE)
        x, y = picture.shape[1] / window.width, picture.shape[0] / window.height
        inner = ((box[0] - left) * x, (box[1] - top) * y, (box[2] - left) * x, (box[3] - top) * y)
        return window, self._cut(np.ascontiguousarray(picture), inner) > 0.5


def _shared(start: int, length: int, other: int, others: int) -> npt.NDArray[np.int64]:
    """Rows, or columns, that two windows share."""
    return np.arange(max(start, other), min(start + length, other + others), dtype=np.int64)


def paint(window: Window, things: Sequence[Thing], cuts: Cuts) -> Scores:
    """Scores of the things that reach into a window, float32 [h, w]; the highest counts where they overlap.

    Args:
        window: of the scene.
        things: boxes with scores.
        cuts: of the scene.
    """
    score = np.zeros((window.height, window.width), dtype=np.float32)
    for thing in things:
        left, top, right, bottom = thing.box
        inside = left < window.col + window.width and right > window.col
        if not (inside and top < window.row + window.height and bottom > window.row):
            continue
        if (found := cuts.part(thing.box, window)) is not None:
            spot, there = found
            score[spot] = np.maximum(score[spot], there * np.float32(thing.score))
    return score


def front_of(picture: Picture, box: PixelBox) -> npt.NDArray[np.float32]:
    """The thing in a box by GrabCut, 0 or 1, float32 [h, w]; the ellipse in the box where nothing stands out.

    Args:
        picture: uint8 RGB [h, w, 3], the box with some ground around it.
        box: left, top, right, bottom in that picture.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(4, round(width * scale)), max(4, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    left, top = max(0, math.floor(box[0] * scale)), max(0, math.floor(box[1] * scale))
    right, bottom = min(size[0], math.ceil(box[2] * scale)), min(size[1], math.ceil(box[3] * scale))
    mask = np.full(size[::-1], cv2.GC_BGD, dtype=np.uint8)
    mask[top:bottom, left:right] = cv2.GC_PR_FGD
    ground = int(np.count_nonzero(mask == cv2.GC_BGD))
    middle = ((left + right) // 2, (top + bottom) // 2)
    radii = max(1, (right - left) // 2), max(1, (bottom - top) // 2)
    if ground >= 32 and right - left >= 5 and bottom - top >= 5:
        cv2.setRNGSeed(0)
        cv2.grabCut(small, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    front = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    if front.sum() < _FILLED * max(1, (right - left) * (bottom - top)) or ground < 32:
        front = np.zeros_like(mask)
        cv2.ellipse(front, middle, radii, 0, 0, 360, 1, -1)
    return np.asarray(cv2.resize(front, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
