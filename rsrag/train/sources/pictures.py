"""Bytes of picture files to pixels, within limits, and the hash by which near copies are found."""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from rsrag.errors import SourceError, SourceTooLarge, UnreadableSource

Pixels = npt.NDArray[np.uint8]
MAX_PIXELS = 80_000_000
MIN_SIDE = 8
"""Shorter pictures show nothing that could be learned."""
_BITS = 258
"""The tag of a TIFF with the bits of every band."""
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError, Warning)
"""What Pillow raises at damaged files."""


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the first frame header of a JPEG, None when there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if marker == 0xFF:
            at += 1
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _is_tiff(data: bytes) -> bool:
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def _header(data: bytes, where: str) -> tuple[int, int]:
    """Width and height by the header alone. JPEG and PNG are read here: Pillow warns of metadata that nobody uses."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data.startswith(b"\xff\xd8") and (size := _jpeg_size(data)):
        return size
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise SourceTooLarge(f"{where}: {exc}") from exc
    except _DAMAGE as exc:
        tiff = "no TIFF of 1, 3 or 4 bands that show grey or red, green and blue"
        reason = tiff if _is_tiff(data) else "no known picture format"
        raise UnreadableSource(f"cannot decode {where}: {reason}") from exc


def _check_end(data: bytes, where: str) -> None:
    """Refuse a JPEG or PNG that is cut off: OpenCV would fill the rest with grey.

    Raises:
        UnreadableSource: its end is missing.
    """
    tail = data[-4096:]
    jpeg, png = data.startswith(b"\xff\xd8"), data.startswith(b"\x89PNG")
    if not (jpeg and b"\xff\xd9" not in tail) and not (png and b"IEND" not in tail):
        return
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError) as exc:
        raise UnreadableSource(f"cannot decode {where}: {exc}") from exc


def _tiff(data: bytes, found: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
    """What OpenCV found in a TIFF of 8 bits, BGR, or what Pillow finds where that is nothing (another compression) or
    wrong: OpenCV multiplies colours with a fourth band, which may well be near infrared."""
    with Image.open(io.BytesIO(data)) as image:
        tags: Any = getattr(image, "tag_v2", {})
        if max(tags.get(_BITS, (1,))) > 8 or (found is not None and image.mode != "RGBA"):
            return found
        return np.asarray(image.convert("RGB"))[..., ::-1]


def _eight_bits(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """16-bit values as an ingest shows them: every band from its 2nd to its 98th percentile."""
    from rsrag.ingest import stretch
    from rsrag.ingest.readers.base import Pixels as Bands

    bands = Bands(np.moveaxis(pixels, -1, 0), np.ones(pixels.shape[:2], dtype=bool))
    positions, roles = range(pixels.shape[-1]), ("blue", "green", "red")
    return stretch.percentiles(positions, roles, [bands]).apply(bands)


def decode(data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Bytes of a picture file to uint8 [H, W, 3] RGB; 16-bit values are stretched as an ingest does.

    Args:
        data: JPEG, PNG, TIFF, WebP or BMP.
        where: named in errors.
        max_pixels: limit by the header, before anything is decoded.

    Raises:
        SourceError: not a picture, cut off, too large, or shorter than 8 px a side.
    """
    width, height = _header(data, where)
    if width * height > max_pixels:
        raise SourceTooLarge(f"{where} has {width} x {height} px, more than {max_pixels}")
    if min(width, height) < MIN_SIDE:
        raise SourceError(f"{where} has {width} x {height} px, fewer than {MIN_SIDE} a side")
    _check_end(data, where)
    try:
        values = np.frombuffer(data, np.uint8)
        pixels: npt.NDArray[Any] | None = cv2.imdecode(values, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if pixels is not None and pixels.dtype != np.uint8:
            wide = pixels.dtype == np.uint16
            pixels = _eight_bits(pixels) if wide else cv2.imdecode(values, cv2.IMREAD_COLOR)
        if _is_tiff(data) and (pixels is None or pixels.dtype == np.uint8):
            pixels = _tiff(data, pixels)
    except (cv2.error, *_DAMAGE) as exc:
        raise UnreadableSource(f"cannot decode {where}: {exc}") from exc
    if pixels is None:
        raise UnreadableSource(f"cannot decode {where}")
    return np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8, copy=False)


def dhash(pixels: Pixels) -> str:
    """64-bit difference hash as 16 hexadecimal digits.

    Args:
        pixels: uint8 [H, W, 3] RGB.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()
