"""Reading members of folders, zip files and tar shards by name, without leaving them and without unpacking anything."""

from __future__ import annotations

import itertools
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Protocol

from rsrag.errors import RefusedSource, SourceError, SourceTooLarge, UnreadableSource
from rsrag.train.sources.places import Place

MEMBER_BYTES = 256 * 2**20
"""Largest member that is read."""
ANNOTATION_BYTES = 2 * 2**30
"""Largest caption or tag file that is read."""
_PATTERN = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SHARDS = 100_000


class Files(Protocol):
    """Members of a container by POSIX path.

    Attributes:
        names: safe names of its members, sorted (in the order of the file for a tar).
        refused: name and reason of members that are never read, or ``("", reason)`` for the rest of a damaged file.
    """

    names: list[str]
    refused: list[tuple[str, str]]

    def read(self, name: str, limit: int = MEMBER_BYTES) -> bytes:
        """Bytes of a member.

        Raises:
            SourceError: no such member, damaged, or larger than ``limit`` bytes.
        """

    def place(self, name: str) -> Place:
        """Where a member lies that is among ``names``."""


def safe_name(name: str) -> str:
    """A member or picture name as a relative POSIX path inside its container.

    Raises:
        RefusedSource: absolute, with a drive, a backslash, a control character or a step upwards.
    """
    if not name or len(name) > 1024 or re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", name):
        raise RefusedSource(f"unsafe name {name[:80]!r}")
    parts = PurePosixPath(name).parts
    tidy = "/".join(parts)
    if name.startswith("/") or ".." in parts or not parts or re.match(r"[A-Za-z]:", tidy):
        raise RefusedSource(f"name leads out of its set: {name[:80]!r}")
    return tidy


def _accept(raw: str, seen: dict[str, str], refused: list[tuple[str, str]]) -> str | None:
    """The safe form of a member name, remembered in ``seen``; None when refused."""
    try:
        name = safe_name(raw)
    except RefusedSource as exc:
        refused.append((_printable(raw), exc.message))
        return None
    if name in seen:
        refused.append((name, "a second member of that name"))
        return None
    seen[name] = raw
    return name


def hidden(name: str) -> bool:
    """Whether a path inside a set is hidden, or is what macOS leaves in zip files (``__MACOSX/``, ``._a.png``)."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _printable(name: str) -> str:
    """A name of any bytes for a note."""
    return name[:200].encode("utf-8", "replace").decode()


class FolderPictures:
    """Files of a folder, by name.

    Args:
        root: the folder, without links in its path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def about(self) -> tuple[str, ...]:
        return "folder", str(self._root)

    def picture(self, name: str, first: int = 0, second: int = 0) -> bytes:
        return self.read(name, MEMBER_BYTES)

    def read(self, name: str, limit: int) -> bytes:
        """Bytes of a file.

        Raises:
            SourceError: none of that name, a link out of the folder, or larger than ``limit`` bytes.
        """
        path = (self._root / safe_name(name)).resolve()
        if not path.is_relative_to(self._root):
            raise RefusedSource(f"{name} is a link out of its folder")
        if not path.is_file():
            raise UnreadableSource(f"no such file: {name}")
        try:
            if path.stat().st_size > limit:
                raise SourceTooLarge(f"{name}: more than {limit} bytes")
            return path.read_bytes()
        except OSError as exc:
            raise UnreadableSource(f"cannot read {name}: {exc.strerror}") from exc


class TarPictures:
    """Members of a tar file, by offset and size; their names are used in errors alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def about(self) -> tuple[str, ...]:
        return "tar", str(self._path)

    def picture(self, name: str, first: int, second: int) -> bytes:
        return self.read(name, first, second, MEMBER_BYTES)

    def read(self, name: str, offset: int, size: int, limit: int) -> bytes:
        """Bytes of a member.

        Raises:
            SourceError: the file is gone or cut off, or the member larger than ``limit`` bytes.
        """
        if size > limit:
            raise SourceTooLarge(f"{name}: more than {limit} bytes")
        try:
            with self._path.open("rb") as handle:
                handle.seek(offset)
                data = handle.read(size)
        except OSError as exc:
            raise UnreadableSource(f"cannot read {self._path}: {exc.strerror}") from exc
        if len(data) != size:
            raise UnreadableSource(f"{self._path.name}: {name} is cut off")
        return data


class Folder:
    """A folder; links that lead out of it, and links to folders, are refused."""

    def __init__(self, path: Path) -> None:
        self._root = path.resolve()
        self._pictures = FolderPictures(self._root)
        self.refused: list[tuple[str, str]] = []
        self.names: list[str] = []
        for where, folders, files in os.walk(self._root, onerror=self._refuse):
            folders.sort()
            inside = Path(where).relative_to(self._root)
            links = [name for name in folders if Path(where, name).is_symlink()]
            self.refused += [(_printable((inside / name).as_posix()), "a link to a folder") for name in links]
            seen: dict[str, str] = {}
            names = [_accept((inside / file).as_posix(), seen, self.refused) for file in sorted(files)]
            self.names += [name for name in names if name is not None]
        self.names.sort()

    def _refuse(self, error: OSError) -> None:
        where = Path(str(error.filename)).relative_to(self._root).as_posix()
        self.refused.append((_printable(where), f"cannot be read: {error.strerror}"))

    def read(self, name: str, limit: int = MEMBER_BYTES) -> bytes:
        return self._pictures.read(name, limit)

    def place(self, name: str) -> Place:
        return Place(self._pictures, name)


class Zip:
    """A zip file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw: dict[str, str] = {}
        self.refused: list[tuple[str, str]] = []
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as exc:
            raise UnreadableSource(f"{path} is no usable zip file: {exc}") from exc
        for raw in self._zip.namelist():
            if not raw.endswith("/"):
                _accept(raw, self._raw, self.refused)
        self.names = sorted(self._raw)

    def read(self, name: str, limit: int = MEMBER_BYTES) -> bytes:
        raw = self._raw.get(safe_name(name))
        if raw is None:
            raise UnreadableSource(f"no member {name} in {self._path.name}")
        try:
            if self._zip.getinfo(raw).file_size > limit:
                raise SourceTooLarge(f"{name}: more than {limit} bytes")
            return self._zip.read(raw)
        except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as exc:
            raise UnreadableSource(f"{self._path.name}: {name} is damaged or encrypted: {exc}") from exc

    def place(self, name: str) -> Place:
        return Place(self, name)

    @property
    def about(self) -> tuple[str, ...]:
        """How its pictures are found again, see :class:`rsrag.train.sources.places.Holder`."""
        return "zip", str(self._path)

    def picture(self, name: str, first: int = 0, second: int = 0) -> bytes:
        """Bytes of a member, see :class:`rsrag.train.sources.places.Holder`."""
        return self.read(name)


def _compressed(path: Path) -> bool:
    """Whether a file begins as one that gzip, bzip2, xz or zstd wrote."""
    try:
        with path.open("rb") as handle:
            return handle.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
    except OSError:
        return False


class Tar:
    """An uncompressed tar file. Its headers are read once; members are then read anywhere in it, by offset.

    That is what lets an epoch be shuffled as a whole and taken up again at any batch: reading a shard as a stream with
    a shuffle buffer gives another order with every number of workers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pictures = TarPictures(path)
        self.refused: list[tuple[str, str]] = []
        self._at: dict[str, tuple[int, int]] = {}
        seen: dict[str, str] = {}
        try:
            size = path.stat().st_size
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isdir():
                        continue
                    name = _accept(member.name, seen, self.refused)
                    if name is None:
                        continue
                    if not member.isreg() or member.issparse():
                        self.refused.append((name, "a link or device"))
                    elif member.offset_data + member.size > size:
                        self.refused.append((name, "cut off"))
                    else:
                        self._at[name] = (member.offset_data, member.size)
                end = archive.offset
            with path.open("rb") as handle:  # tarfile stops in silence at a damaged or missing header
                handle.seek(end)
                if handle.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    self.refused.append(("", f"damaged or cut off after {len(self._at)} members"))
        except (OSError, EOFError, ValueError, tarfile.TarError) as exc:
            if not self._at:
                hint = "unpack compressed shards" if _compressed(path) else None
                raise UnreadableSource(f"{path} is no usable tar file: {exc}", hint=hint) from exc
            self.refused.append(("", f"damaged or cut off after {len(self._at)} members: {exc}"))
        self.names = list(self._at)

    def read(self, name: str, limit: int = MEMBER_BYTES) -> bytes:
        if name not in self._at:
            raise UnreadableSource(f"no member {name} in {self._path.name}")
        return self._pictures.read(name, *self._at[name], limit)

    def place(self, name: str) -> Place:
        return Place(self._pictures, name, *self._at[name])


def open_files(path: Path) -> Files:
    """Open a folder, zip or tar file.

    Raises:
        SourceError: there is none at the path, or it cannot be read at all.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise UnreadableSource(f"no zip file and no folder: {path}")
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return Zip(path)
    if path.suffix.lower() == ".tar" or tarfile.is_tarfile(path):
        return Tar(path)
    raise UnreadableSource(f"{path} is neither a folder nor a zip or tar file")


def expand(pattern: str) -> list[str]:
    """All names that a brace pattern stands for: ``{00..02}`` counts with leading zeros, ``{a,b}`` lists.

    Raises:
        SourceError: more than 100,000 names.
    """
    pieces: list[list[str]] = []
    end = 0
    total = 1
    for found in _PATTERN.finditer(pattern):
        pieces.append([pattern[end : found.start()]])
        end = found.end()
        if counted := _RANGE.fullmatch(found[1]):
            first, last = counted.groups()
            total *= abs(int(last) - int(first)) + 1
            if total > _SHARDS:
                raise SourceError(f"{pattern} stands for more than {_SHARDS} files")
            step = 1 if int(last) >= int(first) else -1
            pieces.append([str(n).zfill(len(first)) for n in range(int(first), int(last) + step, step)])
        else:
            pieces.append(found[1].split(","))
            total *= len(pieces[-1])
    pieces.append([pattern[end:]])
    if total > _SHARDS:
        raise SourceError(f"{pattern} stands for more than {_SHARDS} files")
    return ["".join(parts) for parts in itertools.product(*pieces)]


_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


def _of_split(name: str, split: str) -> bool:
    """Whether a file in a folder belongs to a split, as far as its name or a folder tells one."""
    told = set(re.findall(r"[a-z]+", name.lower())) & _SPLITS
    return not told or split.lower() in told


def find(pattern: str, data_dir: Path, suffix: str, split: str = "train") -> list[Path]:
    """Files that a path in a configuration stands for: one, all of a brace pattern, or all of a folder that are not
    named for another split (``test-00000-of-00001.parquet``).

    Args:
        pattern: relative to ``data_dir``.
        data_dir: where paths begin.
        suffix: ending of the files taken from a folder.
        split: the one that is wanted.

    Raises:
        SourceError: one of the files is missing, or the folder has none of the split.
    """
    paths = [data_dir / name for name in expand(pattern)]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UnreadableSource(f"no such file: {missing[0]}{more}")
    found: list[Path] = []
    others: list[str] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        for file in sorted(path.rglob(f"*{suffix}")):
            name = file.relative_to(path).as_posix()
            found += [file] if (own := _of_split(name, split)) else []
            others += [] if own else [name]
    if not found and others:
        raise UnreadableSource(f"{pattern} has no {suffix} file of split {split!r}: {', '.join(others[:3])}")
    if not found:
        raise UnreadableSource(f"{pattern} has no {suffix} file")
    return found
