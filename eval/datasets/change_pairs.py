"""Labelled pairs of two dates, read from folders or zip files, and pictures altered without a change of the ground."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from rsrag.errors import UsageError
from rsrag.models.base import Picture
from rsrag.train.sources.files import hidden

_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_MOST_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPair:
    """Two dates with the truth.

    Attributes:
        name: for reports; what stands before the slash names its set.
        before: uint8 RGB [H, W, 3].
        after: the same size.
        changed: bool [H, W].
    """

    name: str
    before: Picture
    after: Picture
    changed: npt.NDArray[np.bool_]


def read_pairs(path: Path) -> list[LabelledPair]:
    """Pairs of a folder with ``A/``, ``B/`` and ``label/``, or of all such folders in it or in a zip file, by name.

    Labels are changed where they are not 0, or above half of their range (of 8 or 16 bits) where they reach that far.

    Raises:
        UsageError: no such folders, or an image that is missing, damaged, not of 8 bits or of another size than its
            label.
    """
    files = _names(path)
    pairs = []
    for name in sorted(files):
        root, marker, file = name.rpartition("label/")
        if not marker or "/" in file or (root and not root.endswith("/")) or Path(file).suffix.lower() not in _ENDINGS:
            continue
        before, after = (_decoded(path, files, _twin(files, f"{root}{side}/{file}")) for side in "AB")
        label = _decoded(path, files, name, grey=True)
        if before is None or after is None or label is None:
            raise UsageError(f"{name}: its pair is missing or damaged", hint="A/, B/ and label/ hold equal names")
        if not before.shape[:2] == after.shape[:2] == label.shape:
            raise UsageError(f"{name}: label and images differ in size")
        title = f"{Path(root).name or path.stem}/{Path(file).stem}"
        half = np.iinfo(label.dtype).max // 2 if np.issubdtype(label.dtype, np.integer) else 0
        pairs.append(LabelledPair(title, before, after, np.asarray(label > (half if label.max() > half else 0))))
    if not pairs:
        raise UsageError(f"{path}: no labelled pairs", hint="it needs A/, B/ and label/ with files of equal names")
    return pairs


def read_captioned(path: Path) -> list[LabelledPair]:
    """Pairs of ``A/`` and ``B/``, whether labelled or not; ``changed`` is empty."""
    files = _names(path)
    pairs = []
    for name in sorted(files):
        root, marker, file = name.rpartition("A/")
        if not marker or "/" in file or (root and not root.endswith("/")) or Path(file).suffix.lower() not in _ENDINGS:
            continue
        before, after = _decoded(path, files, name), _decoded(path, files, _twin(files, f"{root}B/{file}"))
        if before is not None and after is not None and before.shape == after.shape:
            title = f"{Path(root).name or path.stem}/{Path(file).stem}"
            pairs.append(LabelledPair(title, before, after, np.zeros(before.shape[:2], dtype=np.bool_)))
    return pairs


def read_captions(path: Path) -> dict[str, list[str]]:
    """Sentences by id from a JSON list of {id, captions}.

    Raises:
        UsageError: not of that form.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = {str(row["id"]): _sentences(row["captions"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}", hint="a JSON list of {id, captions}") from error
    empty = next((identity for identity, sentences in found.items() if not sentences), None)
    if empty is not None:
        raise UsageError(f"{path.name}: {empty!r} has no captions", hint="a list of sentences, or one sentence")
    return found


def _sentences(value: Any) -> list[str]:
    """One sentence or a list of them, as a list."""
    return [value] if isinstance(value, str) else [str(text) for text in value]


def digest(pair: LabelledPair) -> str:
    """Of both pictures' pixels: the same pair has the same digest wherever it comes from."""
    found = hashlib.blake2b(digest_size=16)
    for picture in (pair.before, pair.after):
        found.update(np.ascontiguousarray(picture).tobytes())
    return found.hexdigest()


def _names(path: Path) -> Mapping[str, Any]:
    """Where each file is, by its name inside; hidden files do not count."""
    if path.is_dir():
        files = ((p.relative_to(path).as_posix(), p) for p in sorted(path.rglob("*")) if p.is_file())
        return {name: p for name, p in files if not hidden(name)}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [i for i in archive.infolist() if not i.is_dir() and i.file_size <= _MOST_BYTES]
        return {i.filename: i for i in members if not hidden(i.filename)}
    raise UsageError(f"{path}: neither a folder nor a zip file")


def _twin(files: Mapping[str, Any], name: str) -> str | None:
    stem = name.rpartition(".")[0]
    return next((n for n in (name, *(stem + ending for ending in _ENDINGS)) if n in files), None)


def _decoded(path: Path, files: Mapping[str, Any], name: str | None, *, grey: bool = False) -> Any:
    """A picture, uint8 RGB, or with ``grey`` one channel with all of its bits; None where it cannot be decoded.

    Of a file with a palette the one channel holds its numbers, not its colours.
    """
    if name is None:
        return None
    try:
        if path.is_dir():
            data = files[name].read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                data = archive.read(files[name])
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: {name} cannot be read: {error}") from error
    if grey and (numbers := _numbers_of_palette(data)) is not None:
        return numbers
    how = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how | cv2.IMREAD_ANYDEPTH) if data else None
    if pixels is not None and not grey and pixels.dtype != np.uint8:
        raise UsageError(f"{name} has {8 * pixels.dtype.itemsize} bits a colour", hint="stretch A/ and B/ to 8 bits")
    return pixels


def _numbers_of_palette(data: bytes) -> npt.NDArray[np.uint8] | None:
    """What a file with a palette stores, [H, W]; None of any other file, or where it is damaged."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return np.array(opened, dtype=np.uint8) if opened.mode == "P" else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def altered(picture: Picture, kind: str, amount: float, *, seed: int = 0) -> Picture:
    """The same ground as another acquisition would show it.

    Args:
        picture: uint8 RGB [H, W, 3].
        kind: "shift" (pixels, in a direction drawn by the seed), "gamma" (exponent, and gains of 0.9 to 1.1 a channel),
            "blur" (standard deviation in pixels) or "noise" (standard deviation in grey values).
        amount: see ``kind``.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    values: Any = picture.astype(np.float32)
    if kind == "shift":
        angle = rng.uniform(0, 2 * np.pi)
        matrix = np.array([[1, 0, amount * np.cos(angle)], [0, 1, amount * np.sin(angle)]], dtype=np.float32)
        size = (picture.shape[1], picture.shape[0])
        values = cv2.warpAffine(values, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    elif kind == "gamma":
        values = 255 * (values / 255) ** amount * rng.uniform(0.9, 1.1, 3)
    elif kind == "blur":
        values = cv2.GaussianBlur(values, (0, 0), amount)
    elif kind == "noise":
        values = values + rng.normal(0, amount, values.shape)
    else:
        raise ValueError(f"no alteration {kind!r}")
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
