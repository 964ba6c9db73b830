"""Labelled pairs of two dates, read from folders or zip files, and pictures altered without a change of the ground."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from rsrag.errors import UsageError
from rsrag.models.base import Picture
from rsrag.train.sources.caption_files import caption_rows
from rsrag.train.sources.files import hidden

_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_MOST_BYTES = 512 * 2**20
_LAYOUTS = (
    ("A", "B", "label"),  # LEVIR-CD, WHU-CD
    ("A", "B", "OUT"),  # CDD
    ("time1", "time2", "label"),  # SYSU-CD, CLCD
    ("Image1", "Image2", "label"),  # S2Looking
    ("t1", "t2", "mask"),  # DSIFN
)
"""Folders of the earlier pictures, the later ones and the labels."""
_NAMED = "; ".join(f"{a}/, {b}/ and {label}/" for a, b, label in _LAYOUTS)


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


@dataclass(frozen=True, slots=True, eq=False)
class StoredPair:
    """Where a pair lies. Its pixels are read when they are asked for: a set may be larger than memory.

    Attributes:
        name: see :class:`LabelledPair`.
        files: the folder or zip file.
        before: name of the picture in ``files``; None where there is none.
        after: the same.
        label: the same; None of pairs without labels.
    """

    name: str
    files: _Files
    before: str | None
    after: str | None
    label: str | None = None

    def read(self) -> LabelledPair:
        """The pair, with its label.

        Labels are changed where they are not 0, or above half of their range (of 8 or 16 bits) where they reach that
        far.

        Raises:
            UsageError: an image that is missing, damaged, not of 8 bits or of another size than its label.
        """
        before, after = (_decoded(self.files, name) for name in (self.before, self.after))
        label = _decoded(self.files, self.label, grey=True)
        if before is None or after is None or label is None:
            hint = "both dates and the label have equal names"
            raise UsageError(f"{self.label}: its pair is missing or damaged", hint=hint)
        if not before.shape[:2] == after.shape[:2] == label.shape:
            raise UsageError(f"{self.label}: label and images differ in size")
        half = np.iinfo(label.dtype).max // 2 if np.issubdtype(label.dtype, np.integer) else 0
        return LabelledPair(self.name, before, after, np.asarray(label > (half if label.max() > half else 0)))

    def pictures(self) -> tuple[Picture, Picture] | None:
        """Both dates without a label; None where one is missing or damaged, or they differ in size.

        Raises:
            UsageError: a file that cannot be read, or an image that is not of 8 bits.
        """
        before, after = (_decoded(self.files, name) for name in (self.before, self.after))
        return None if before is None or after is None or before.shape != after.shape else (before, after)


def find_pairs(path: Path, *, needed: bool = True) -> list[StoredPair]:
    """Pairs of a folder with ``A/``, ``B/`` and ``label/``, or of all such folders in it or in a zip file, by name.

    Other names that public sets have for the three folders are known, too.

    Args:
        path: the folder or zip file.
        needed: whether none is an error.

    Raises:
        UsageError: no such folders, or ``path`` cannot be read.
    """
    files = _Files(path)
    folders = {name.rpartition("/")[0] for name in files.names}
    found: dict[str, StoredPair] = {}
    for layout in _LAYOUTS:
        before, after, label = layout
        for root, file, title in _images(files, f"{label}/"):
            if layout == _layout(root, folders):
                one, other = (_twin(files, f"{root}{side}/{file}") for side in (before, after))
                found[f"{root}{label}/{file}"] = StoredPair(title, files, one, other, f"{root}{label}/{file}")
    if needed and not found:
        raise UsageError(f"{path}: no labelled pairs", hint=f"it needs files of equal names in {_NAMED}")
    return [found[name] for name in sorted(found)]


def _layout(root: str, folders: Collection[str]) -> tuple[str, str, str]:
    """The names of the three folders below ``root``, which has one of labels."""
    fitting = [layout for layout in _LAYOUTS if root + layout[2] in folders]
    return next((one for one in fitting if root + one[0] in folders or root + one[1] in folders), fitting[0])


def find_captioned(path: Path) -> list[StoredPair]:
    """Pairs of two dates, whether labelled or not, without their labels."""
    files = _Files(path)
    return [
        StoredPair(title, files, f"{root}{before}/{file}", _twin(files, f"{root}{after}/{file}"))
        for before, after in dict.fromkeys(layout[:2] for layout in _LAYOUTS)
        for root, file, title in _images(files, f"{before}/")
    ]


def read_pairs(path: Path) -> list[LabelledPair]:
    """All pairs of :func:`find_pairs` at once.

    Raises:
        UsageError: no such folders, or what :meth:`StoredPair.read` raises.
    """
    return [pair.read() for pair in find_pairs(path)]


def read_captions(path: Path) -> dict[str, list[str]]:
    """Sentences by id from a JSON list of {id, captions}, or as LEVIR-CC is published, by its files' names.

    Raises:
        UsageError: not of that form.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(rows, dict):  # {"images": [{"filename", "sentences": [{"raw"}]}]}
            listed = caption_rows(path, path.parent, (), lambda _: b"")
            rows = [{"id": Path(row.file).stem, "captions": row.captions} for row in listed]
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


class _Files:
    """The files of a folder, or of a zip file, which is opened once; hidden files do not count.

    Raises:
        UsageError: neither of the two.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            names = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        elif zipfile.is_zipfile(path):
            self._archive = _opened(path)
            members = self._archive.infolist()
            names = (i.filename for i in members if not i.is_dir() and i.file_size <= _MOST_BYTES)
        else:
            raise UsageError(f"{path}: neither a folder nor a zip file")
        self.names = frozenset(name for name in names if not hidden(name))

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            return (self.path / name).read_bytes() if self._archive is None else self._archive.read(name)
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise UsageError(f"{self.path}: {name} cannot be read: {error}") from error


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _images(files: _Files, folder: str) -> Iterator[tuple[str, str, str]]:
    """Images in folders of a name, in order: what stands before the folder, the file's name, and a title."""
    for name in sorted(files.names):
        root, marker, file = name.rpartition(folder)
        if not marker or "/" in file or (root and not root.endswith("/")) or Path(file).suffix.lower() not in _ENDINGS:
            continue
        yield root, file, f"{Path(root).name or files.path.stem}/{Path(file).stem}"


def _twin(files: _Files, name: str) -> str | None:
    stem = name.rpartition(".")[0]
    return next((n for n in (name, *(stem + ending for ending in _ENDINGS)) if n in files.names), None)


def _decoded(files: _Files, name: str | None, *, grey: bool = False) -> Any:
    """A picture, uint8 RGB, or with ``grey`` one channel with all of its bits; None where it cannot be decoded.

    Of a file with a palette the one channel holds its numbers, not its colours.
    """
    if name is None:
        return None
    data = files.read(name)
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
