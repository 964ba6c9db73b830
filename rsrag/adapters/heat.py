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
_SPAN = 2
"""Cells a side whose mean is the vector of a place."""


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
        encoder = context.profile.image
        self._encoder = encoder
        self._zooms = tuple(zooms)
        self._dense = None
        if getattr(encoder, "name", "") == "mini-image" and hasattr(encoder, "semantic_words"):
            from rsrag.models.dense import DenseEncoder

            self._dense = DenseEncoder()
        self.words = encoder.semantic_words if self._dense is not None else encoder.encode_words  # type: ignore[attr-defined]
        self.fingerprint = self._dense.fingerprint if self._dense is not None else encoder.fingerprint

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
        vectors = bank_vectors(self.words, [names, *([name] for name in background)], templates)
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
            cells, side = self._cells(picture, zoom)
            for row, query in enumerate(queries):
                total[row] += _spread(_share(cells, query), side, height, width)
        return total / np.float32(len(self._zooms))

    def _cells(self, picture: Picture, zoom: float) -> tuple[npt.NDArray[np.float32], float]:
        """Unit vectors of cells, float32 [dim, rows, cols], and the side of a cell in pixels of the picture."""
        height, width = picture.shape[:2]
        how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        seen = picture if zoom == 1 else np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)
        if self._dense is not None:
            cells, side = self._dense.maps(seen, ["semantic"])["semantic"], self._dense.strides["semantic"]
            kernel = np.full((_SPAN + 1, _SPAN + 1), 1.0, dtype=np.float32)
            kernel[[0, 0, -1, -1], [0, -1, 0, -1]] = 0.5
            kernel /= kernel.sum()
            cells = np.stack([cv2.filter2D(c, -1, kernel, borderType=cv2.BORDER_REPLICATE) for c in cells])
        else:
            cells, side = self._tiles(seen)
        return cells / np.maximum(np.linalg.norm(cells, axis=0, keepdims=True), np.float32(1e-9)), side / zoom

    def _tiles(self, picture: Picture) -> tuple[npt.NDArray[np.float32], int]:
        """Vectors of tiles that overlap by half, for an encoder without maps."""
        tile = min(self._encoder.input_size or 112, 224)
        step = tile // 2
        height, width = picture.shape[:2]
        rows, cols = -(-height // step), -(-width // step)
        pad = (tile - step) // 2
        below, right = rows * step - height + tile, cols * step - width + tile
        wide = cv2.copyMakeBorder(picture, pad, below, pad, right, cv2.BORDER_REPLICATE)
        tiles = [
            np.ascontiguousarray(wide[r * step : r * step + tile, c * step : c * step + tile])
            for r in range(rows)
            for c in range(cols)
        ]
        vectors = np.concatenate([self._encoder.encode_images(tiles[i : i + 64]) for i in range(0, len(tiles), 64)])
        return np.ascontiguousarray(vectors.T).reshape(-1, rows, cols), step


def _share(cells: npt.NDArray[np.float32], query: HeatQuery) -> Heat:
    """Softmax of the text among the background at every cell, float32 [rows, cols]."""
    vectors = np.vstack([query.target[None], query.others])
    scores = np.tensordot(vectors, cells, axes=1) / TEMPERATURE
    odds = np.exp(scores - scores.max(axis=0, keepdims=True))
    return np.asarray(odds[0] / odds.sum(axis=0), dtype=np.float32)


def _spread(values: Heat, side: float, height: int, width: int) -> Heat:
    """Cells to pixels, interpolated between the centres of cells."""
    rows, cols = values.shape
    y = np.clip((np.arange(height, dtype=np.float32) + 0.5) / side - 0.5, 0, rows - 1)
    x = np.clip((np.arange(width, dtype=np.float32) + 0.5) / side - 0.5, 0, cols - 1)
    grid_x, grid_y = np.meshgrid(x, y)
    found = cv2.remap(values, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.float32)
