"""How much every place of a picture looks like a text: the heat map that grounding and segmentation share.

The encoder gives a vector to every cell of the picture at several sizes (the dense maps of the ``mini`` tower, or
overlapping tiles for another encoder); each is compared with the text in the sentences of a template bank. A cosine
alone says little, since every aerial picture is a bit like every text: the text competes with background prompts, and
the heat is its share of a softmax over all of them (the pixel-wise form of CLIP's zero-shot classification, Zhou et al.
2022, "Extract Free Dense Labels from CLIP"). Values are comparable between windows of one scene, not probabilities.

Use: ``mapper = HeatMapper(context)`` once, ``query = mapper.query("water")`` once a text, and
``mapper.heat(picture, query)`` for every window of a sweep with :data:`MARGIN` pixels around its core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context
from rsrag.adapters.cells import CellEncoder, spread
from rsrag.errors import UsageError
from rsrag.models.base import Picture, Vectors
from rsrag.models.calibration import bank_vectors
from rsrag.train.prompts import TEMPLATES

Heat = npt.NDArray[np.float32]
BACKGROUND = (
    "bare ground", "grass", "trees", "forest", "farmland", "water", "sea", "beach", "road", "pavement", "parking lot",
    "houses", "buildings", "industrial area", "desert", "mountain",
)  # fmt: skip
"""What a place may be besides the thing asked for."""
ZOOMS = (2.0, 1.0, 0.5)
"""Sizes at which the encoder sees the picture, relative to the picture: ships need the first, fields the last."""
MARGIN = 128
"""Pixels around a window that its cells look at."""
TEMPERATURE = 0.05
"""Of the softmax over text and background."""
_ALIKE = 0.75
"""A background prompt at least this like the text (cosine of their vectors) means the same: it does not compete."""
_AROUND = np.asarray(np.array([[0.5, 1, 0.5], [1, 1, 1], [0.5, 1, 0.5]]) / 7, dtype=np.float32)
"""Weights of the cells whose mean is the vector of a place."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatQuery:
    """A text ready to be looked for.

    Attributes:
        text: as given.
        target: unit vector in the space of the encoder's cells, float32 [dim].
        others: of the background that competes, float32 [B, dim].
    """

    text: str
    target: npt.NDArray[np.float32]
    others: Vectors


class HeatMapper:
    """Heat maps with the image encoder of a context.

    Args:
        context: with the models.
        zooms: sizes at which the encoder sees the picture.
    """

    def __init__(self, context: Context, zooms: Sequence[float] = ZOOMS) -> None:
        self._cells = CellEncoder(context)
        self._zooms = tuple(zooms)
        self.fingerprint = self._cells.fingerprint

    def query(
        self, text: str | Sequence[str], *, background: Sequence[str] = BACKGROUND, templates: Sequence[str] = TEMPLATES
    ) -> HeatQuery:
        """A text, or several names of one thing, ready to be looked for.

        Args:
            text: what to look for.
            background: what else there may be; prompts that mean the same as the text are left out.
            templates: sentences with ``{}`` where the words go.

        Raises:
            UsageError: no text.
        """
        names = [name for name in ([text] if isinstance(text, str) else text) if name.strip()]
        if not names:
            raise UsageError("no words to look for", hint='name what to find, such as "water"')
        vectors = bank_vectors(self._cells.words, [names, *([name] for name in background)], templates)
        others = vectors[1:]
        return HeatQuery(names[0], vectors[0], others[others @ vectors[0] < _ALIKE])

    def heat(self, picture: Picture, query: HeatQuery) -> Heat:
        """Share of the text at every pixel, 0 to 1, float32 [H, W]; the mean over the zooms.

        Args:
            picture: uint8 RGB [H, W, 3], at least 16 pixels a side.
            query: from :meth:`query`.
        """
        return np.asarray(self.heats(picture, [query])[0], dtype=np.float32)

    def heats(self, picture: Picture, queries: Sequence[HeatQuery]) -> Heat:
        """The same for several texts, float32 [N, H, W]: the encoder runs once."""
        height, width = picture.shape[:2]
        total = np.zeros((len(queries), height, width), dtype=np.float32)
        for zoom in self._zooms:
            how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
            size = max(1, round(width * zoom)), max(1, round(height * zoom))
            seen = picture if zoom == 1 else np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)
            cells, side = self._cells.grid(seen, _AROUND)
            for row, query in enumerate(queries):
                total[row] += spread(_share(cells, query), side / zoom, height, width)
        return total / np.float32(len(self._zooms))


def _share(cells: npt.NDArray[np.float32], query: HeatQuery) -> Heat:
    """Softmax of the text among the background at every cell, float32 [rows, cols]."""
    vectors = np.vstack([query.target[None], query.others])
    scores = np.tensordot(vectors, cells, axes=1) / TEMPERATURE
    odds = np.exp(scores - scores.max(axis=0, keepdims=True))
    return np.asarray(odds[0] / odds.sum(axis=0), dtype=np.float32)
