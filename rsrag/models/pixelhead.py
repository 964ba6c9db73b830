"""The shipped pixel decoder: how much each pixel looks like the classes it was trained on, run by ONNX Runtime."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.errors import BadModelFile
from rsrag.models.base import Picture
from rsrag.models.dense import SHIPPED as DENSE
from rsrag.models.dense import DenseEncoder
from rsrag.models.dense import shipped as shipped_maps
from rsrag.models.described import check_encoder, read_described
from rsrag.models.groundviews import LEVELS, aligned, views
from rsrag.models.towers import ort_session

SHIPPED = DENSE.parent / "pixels"
GRAPH, CONFIG = "head.onnx", "config.json"
DIGITS = 16
"""Of the digests of pixels that are kept of what it was trained on."""


class PixelDecoder:
    """Scores of classes at every pixel, from the frozen encoder's maps and the picture itself.

    Args:
        directory: holds ``head.onnx`` and ``config.json`` as :mod:`rsrag.train.pixels` writes them.
        encoder: of the maps; the shipped one by default.

    Attributes:
        classes: what it was trained on.
        trained_on: first digits of :func:`rsrag.ingest.enrich.pixel_digest` of the pictures.
        fingerprint: of the network.

    Raises:
        BadModelFile: a file is missing or not the one described, or it was trained on another encoder.
    """

    def __init__(self, directory: Path = SHIPPED, encoder: DenseEncoder | None = None) -> None:
        self._graph = directory / GRAPH
        config = read_described(directory, [GRAPH], "pixel decoder")
        try:
            self.classes: tuple[str, ...] = tuple(str(name) for name in config["classes"])
        except (KeyError, TypeError) as error:
            raise BadModelFile(f"no pixel decoder in {directory}: {error}") from error
        self.trained_on = frozenset(map(str, config.get("picture_digests", ())))
        self.encoder = encoder or shipped_maps()
        check_encoder(directory, config, self.encoder.fingerprint, "rsrag.train.pixels")
        self.fingerprint = f"mini-pixels:{config['sha256'][GRAPH][:16]}"

    @cached_property
    def _session(self) -> Any:
        return ort_session(self._graph, arena=False)

    def scores(self, picture: Picture) -> npt.NDArray[np.float32]:
        """Scores 0 to 1 of every class, 0.5 where it is as likely as not, float32 [classes, H, W].

        Args:
            picture: uint8 RGB [H, W, 3].
        """
        height, width = picture.shape[:2]
        maps = views(self.encoder, picture)
        whole = aligned(picture)
        given = {level.name: maps[level.name][None] for level in LEVELS}
        given["picture"] = np.ascontiguousarray(whole.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        size = whole.shape[1], whole.shape[0]
        coarse = self._session.run(None, given)[0][0]
        fine = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[:height, :width] for plane in coarse]
        return np.asarray(np.stack(fine), dtype=np.float32)


@cache
def shipped() -> PixelDecoder:
    """The one that ships, read once a process.

    Raises:
        BadModelFile: as when it is made.
    """
    return PixelDecoder()
