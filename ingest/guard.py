"""Cheap checks before anything heavy: where a path leads, what a file is by its first bytes, and how large it may be.

Image libraries follow what they are handed: GDAL opens network paths and virtual rasters that name other files, and a
header of a few bytes can ask for terabytes. So paths are checked as text, types by content, and each file is then
opened with exactly one driver.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import stat
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rsrag.errors import RefusedSource, SourceTooLarge, UnreadableSource, UnsupportedSource

HEAD_BYTES = 4096
JSON_BYTES = 32 * 2**20
"""Largest JSON document that is parsed whole to learn its kind; larger ones are judged by their head."""


class SourceType(StrEnum):
    """What a file is, by its content."""

    GEOTIFF = "TIFF raster"
    JP2 = "JPEG 2000 raster"
    PNG = "PNG picture"
    JPEG = "JPEG picture"
    STAC_ITEM = "STAC Item"
    STAC_ITEMS = "STAC ItemCollection"
    STAC_CATALOG = "STAC Catalog or Collection"
    GEOJSON = "GeoJSON"
    JSON = "JSON document"
    JSONL = "JSON lines"
    GEOPACKAGE = "GeoPackage"
    CSV = "CSV table"
    PDF = "PDF document"
    MARKDOWN = "Markdown text"
    TEXT = "plain text"
    HTML = "HTML page"
    XML = "XML document"

    @property
    def is_raster(self) -> bool:
        """Whether the type is an image by itself."""
        return self in (SourceType.GEOTIFF, SourceType.JP2, SourceType.PNG, SourceType.JPEG)

    @property
    def is_stac(self) -> bool:
        """Whether the type is JSON that describes images."""
        return self in (SourceType.STAC_ITEM, SourceType.STAC_ITEMS, SourceType.STAC_CATALOG)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one source may ask for.

    Attributes:
        max_pixels_photo: pixels of a PNG or JPEG, which are decoded whole.
        max_pixels_scene: pixels of a raster, all of which may have to be read for one coarse tile.
        max_block_bytes: bytes of one compressed block of a raster, the least that can be decoded.
        max_json_bytes: bytes of a STAC document.
    """

    max_pixels_photo: int = 80_000_000
    max_pixels_scene: int = 200_000_000_000
    max_block_bytes: int = 512 * 2**20
    max_json_bytes: int = 64 * 2**20


_JSON_TYPES = frozenset(
    {
        SourceType.STAC_ITEM,
        SourceType.STAC_ITEMS,
        SourceType.STAC_CATALOG,
        SourceType.GEOJSON,
        SourceType.JSON,
        SourceType.JSONL,
    }
)
_TEXT_TYPES = frozenset({SourceType.TEXT, SourceType.MARKDOWN, SourceType.CSV, SourceType.HTML, SourceType.XML})
_EXPECTED: dict[str, frozenset[SourceType]] = {
    ".tif": frozenset({SourceType.GEOTIFF}),
    ".tiff": frozenset({SourceType.GEOTIFF}),
    ".gtiff": frozenset({SourceType.GEOTIFF}),
    ".jp2": frozenset({SourceType.JP2}),
    ".j2k": frozenset({SourceType.JP2}),
    ".png": frozenset({SourceType.PNG}),
    ".jpg": frozenset({SourceType.JPEG}),
    ".jpeg": frozenset({SourceType.JPEG}),
    ".json": _JSON_TYPES,
    ".geojson": _JSON_TYPES,
    ".jsonl": _JSON_TYPES,
    ".ndjson": _JSON_TYPES,
    ".gpkg": frozenset({SourceType.GEOPACKAGE}),
    ".csv": _TEXT_TYPES - {SourceType.HTML, SourceType.XML},
    ".tsv": _TEXT_TYPES - {SourceType.HTML, SourceType.XML},
    ".pdf": frozenset({SourceType.PDF}),
    ".md": _TEXT_TYPES | _JSON_TYPES,
    ".markdown": _TEXT_TYPES | _JSON_TYPES,
    ".txt": _TEXT_TYPES | _JSON_TYPES,
}
KNOWN_SUFFIXES = frozenset(_EXPECTED)
"""Suffixes that promise a type rsrag reads."""

_MAGIC: tuple[tuple[bytes, SourceType], ...] = (
    (b"II*\0", SourceType.GEOTIFF),
    (b"MM\0*", SourceType.GEOTIFF),
    (b"II+\0\x08\0\0\0", SourceType.GEOTIFF),
    (b"MM\0+\0\x08\0\0", SourceType.GEOTIFF),
    (b"\x89PNG\r\n\x1a\n", SourceType.PNG),
    (b"\xff\xd8\xff", SourceType.JPEG),
    (b"\0\0\0\x0cjP  \r\n\x87\n", SourceType.JP2),
    (b"\xff\x4f\xff\x51", SourceType.JP2),
    (b"%PDF-", SourceType.PDF),
)
_ARCHIVES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "ZIP archive"),
    (b"PK\x05\x06", "ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"Rar!\x1a\x07", "RAR archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\0", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "Zstandard archive"),
)
_LINES = (".jsonl", ".ndjson")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SQLITE = b"SQLite format 3\0"
_UNPACK = "unpack it and ingest the folder"
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-_]+:")


def expanded(text: str | os.PathLike[str]) -> Path:
    """A path with ``~`` replaced by a home folder; as it is where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def check_path(text: str | os.PathLike[str]) -> Path:
    """The local file or folder that a text names, as an absolute path.

    Raises:
        RefusedSource: a URL, a virtual path of GDAL, an inline virtual raster, a device or a pipe.
        UnreadableSource: empty, or nothing there.
    """
    raw = os.fspath(text)
    shown = raw if len(raw) <= 120 else raw[:117] + "..."
    if not raw.strip() or "\0" in raw:
        raise UnreadableSource("an empty path" if not raw.strip() else "a path with a null character")
    if raw.lstrip().startswith("<"):
        raise RefusedSource("an inline virtual raster is not a path", hint="give the file that holds the pixels")
    if re.match(r"^[/\\]*vsi", raw.strip(), re.IGNORECASE):
        raise RefusedSource(f"{shown}: virtual paths of GDAL are not opened", hint="download or unpack it first")
    if "://" in raw:
        raise RefusedSource(f"{shown}: network addresses are not opened", hint="download it and give the local path")
    path = expanded(raw)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if _SCHEME.match(raw):
            raise RefusedSource(
                f"{shown}: prefixes that name a driver or scheme are not opened", hint="give a local path"
            ) from None
        raise UnreadableSource(f"{shown}: no such file or folder") from None
    except OSError as error:
        raise UnreadableSource(f"{shown}: {error.strerror or error}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise RefusedSource(f"{shown}: a device, pipe or socket, not a file")
    return path.resolve()


def check_name(path: Path) -> None:
    """Refuse a file whose name no catalogue can hold.

    Raises:
        UnreadableSource: bytes in the name that are no UTF-8.
    """
    if shown_path(path) != str(path):
        raise UnreadableSource(f"{shown_path(path.name)}: a name that is not valid Unicode", hint="rename the file")


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as text that can be written anywhere: bytes that are no UTF-8 become ``\\udce9`` and the like."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def sniff(path: Path) -> SourceType:
    """What a file is, by its content; the suffix must not promise something else.

    A gzipped text (GeoJSON, CSV, JSON lines, ...) counts as what it holds.

    Raises:
        UnreadableSource: empty, unreadable, or of another type than its suffix says.
        RefusedSource: an archive or a virtual raster.
        UnsupportedSource: none of the types that rsrag reads.
    """
    head = _read_head(path)
    if not head:
        raise UnreadableSource(f"{path.name}: empty file (0 bytes)")
    suffixes = [s.lower() for s in path.suffixes]
    if head[:2] == b"\x1f\x8b":
        head = _gzip_head(path)
        suffixes = suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes
    suffix = suffixes[-1] if suffixes else ""
    kind = _by_magic(path, head) or _by_text(path, head, suffix)
    if kind is SourceType.JSON and suffix in _LINES:
        kind = SourceType.JSONL  # of a single line, which is a JSON document too
    expected = _EXPECTED.get(suffix)
    if kind is None:
        if expected:
            raise UnreadableSource(f"{path.name}: not a {_names(expected)}, nor any other type that rsrag reads")
        raise UnsupportedSource(f"{path.name}: none of the types that rsrag reads")
    if expected and kind not in expected:
        raise UnreadableSource(
            f"{path.name} holds a {kind}, not a {_names(expected)}", hint="rename it to what it is, or fetch it again"
        )
    return kind


def _names(types: frozenset[SourceType]) -> str:
    return " or ".join(sorted(types)) if len(types) <= 2 else "file of that suffix"


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableSource(f"{path.name}: {error.strerror or error}") from error


def _gzip_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableSource(f"{path.name}: damaged gzip file ({error})") from error
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text or b"\0" in text or head[:1] == b"\x1f" or any(head.startswith(m) for m, _ in _MAGIC):
        raise RefusedSource(f"{path.name}: a gzip archive", hint=_UNPACK)
    return head


def _by_magic(path: Path, head: bytes) -> SourceType | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for magic, name in _ARCHIVES:
        if head.startswith(magic):
            raise RefusedSource(f"{path.name}: a {name}", hint=_UNPACK)
    if head[257:262] == b"ustar":
        raise RefusedSource(f"{path.name}: a tar archive", hint=_UNPACK)
    if head.startswith(_SQLITE):
        # The OGC signature: "GPKG" as application id, or "GP10"/"GP11" of the first versions.
        if head[68:70] == b"GP" or path.suffix.lower() == ".gpkg":
            return SourceType.GEOPACKAGE
        raise UnsupportedSource(f"{path.name}: an SQLite database that is not a GeoPackage")
    return None


def _by_text(path: Path, head: bytes, suffix: str) -> SourceType | None:
    text = _as_text(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n")
    lower = start[:512].lower()
    if "<vrtdataset" in text.lower() and suffix not in (".md", ".markdown", ".txt", ".html", ".htm"):
        raise RefusedSource(
            f"{path.name}: a virtual raster, which may name any other file", hint="give the files it is made of"
        )
    if lower.startswith(("<!doctype html", "<html")):
        return SourceType.HTML
    if lower.startswith(("<?xml", "<!doctype")) or (lower.startswith("<") and suffix not in (".md", ".markdown")):
        return SourceType.HTML if "<html" in lower else SourceType.XML
    if start.startswith(("{", "[")) and suffix not in (".md", ".markdown", ".txt"):
        return _json_kind(path, text)
    if suffix in (".csv", ".tsv"):
        return SourceType.CSV
    if suffix in (".md", ".markdown"):
        return SourceType.MARKDOWN
    return SourceType.TEXT if start and suffix in ("", ".txt", ".text", ".rst", *_EXPECTED) else None


def _as_text(head: bytes) -> str | None:
    if head.startswith(_WIDE):
        return _as_wide_text(head)
    if b"\0" in head:
        return None
    for cut in range(4):  # the head may end inside a character
        try:
            return head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
    text = head.decode("latin-1")
    return None if _has_controls(text) else text


def _as_wide_text(head: bytes) -> str | None:
    """UTF-16 with its mark, which spreadsheet programs write."""
    try:
        text = codecs.getincrementaldecoder("utf-16")().decode(head)  # the head may end inside a character
    except UnicodeDecodeError:
        return None
    return None if _has_controls(text) else text


def _has_controls(text: str) -> bool:
    return any(ord(c) < 32 and c not in "\t\r\n\f" for c in text)


def _json_kind(path: Path, head: str) -> SourceType | None:
    whole = _json_text(path)
    if whole is None:
        return _json_kind_of_head(head)
    try:
        document = json.loads(whole)
    except json.JSONDecodeError as error:
        if _is_json(whole.lstrip("\ufeff \t\r\n").split("\n", 1)[0]):
            return SourceType.JSONL
        raise UnreadableSource(f"{path.name}: damaged JSON, {error}") from error
    except RecursionError as error:
        raise UnreadableSource(f"{path.name}: JSON nested too deeply") from error
    return _json_kind_of(document)


def _json_text(path: Path) -> str | None:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            data: bytes = file.read(JSON_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableSource(f"{path.name}: {error}") from error
    return (
        None if len(data) > JSON_BYTES else data.decode("utf-16" if data.startswith(_WIDE) else "utf-8-sig", "replace")
    )


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _json_kind_of(document: Any) -> SourceType:
    if not isinstance(document, dict):
        return SourceType.JSON
    kind = document.get("type")
    stac = "stac_version" in document
    if kind == "FeatureCollection":
        features = document.get("features")
        first = features[0] if isinstance(features, list) and features else None
        items = isinstance(first, dict) and "stac_version" in first
        return SourceType.STAC_ITEMS if items else SourceType.GEOJSON
    if kind == "Feature":
        return SourceType.STAC_ITEM if stac else SourceType.GEOJSON
    if stac and (kind in ("Collection", "Catalog") or "links" in document):
        return SourceType.STAC_CATALOG
    return SourceType.JSON


def _json_kind_of_head(head: str) -> SourceType:
    first = head.lstrip("\ufeff \t\r\n").split("\n", 1)[0]
    if "\n" in head.strip() and _is_json(first):
        return SourceType.JSONL
    if '"FeatureCollection"' in head:
        return SourceType.STAC_ITEMS if '"stac_version"' in head else SourceType.GEOJSON
    return SourceType.JSON


# --- GDAL -----------------------------------------------------------------------------------------------------------

_SAFE_GDAL = {
    # Virtual rasters read any file they name. Skipping works only before drivers are registered; pinning a driver at
    # every open is the second line.
    "GDAL_SKIP": "VRT GTI WMS WMTS WCS HTTP STACIT STACTA",
    # A raster stands alone: no listing of its folder, no side-car files that could name others.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    # Metadata inside a TIFF may name an overview file on the network: no address ends like this.
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing-is-allowed",
    "GDAL_HTTP_TIMEOUT": "1",
    "GDAL_HTTP_MAX_RETRY": "0",
    # Megabytes; the default is a share of the machine's memory. Readers go by blocks, so little is read twice.
    "GDAL_CACHEMAX": "64",
}


def harden_gdal() -> None:
    """Put GDAL's safety settings into the environment. To be called before rasterio is imported.

    ``GDAL_CACHEMAX`` set by the user stays; everything else is put in place.
    """
    for name, value in _SAFE_GDAL.items():
        if name == "GDAL_CACHEMAX" and name in os.environ:
            continue
        os.environ[name] = value


DRIVERS = {SourceType.GEOTIFF: "GTiff", SourceType.JP2: "JP2OpenJPEG"}
"""The one GDAL driver that opens each type."""


def check_block(name: str, block: tuple[int, int], bands: int, itemsize: int, limits: Limits) -> None:
    """Refuse a raster whose smallest readable unit does not fit in memory.

    Raises:
        SourceTooLarge: one block is over the limit.
    """
    size = block[0] * block[1] * bands * itemsize
    if size > limits.max_block_bytes:
        raise SourceTooLarge(
            f"{name}: one block of {block[1]}×{block[0]} pixels takes {size / 2**20:.0f} MiB, "
            f"more than {limits.max_block_bytes / 2**20:.0f} MiB",
            hint="write it as a tiled GeoTIFF, such as a COG",
        )
