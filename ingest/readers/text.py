"""Bytes to text that is safe to keep: limits, encodings, control characters, HTML."""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

from rsrag.errors import SourceTooLarge, UnreadableSource
from rsrag.plain import without_controls

MAX_BYTES = 256 * 1024 * 1024
"""Most bytes of one knowledge source, after decompression."""
MAX_VALUE = 1_000_000
"""Most characters of one value of a table."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "an RTF document"),
)
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_PLAIN = re.compile(r"[\t\n\x20-\x7e]*")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)\b[^<>]*>")
_BREAKS = _words("p br div li ul ol tr table h1 h2 h3 h4 h5 h6 blockquote section article hr dd dt")
_TAGS = _BREAKS | _words(
    "a abbr acronym b bdi bdo big body button caption center cite code col colgroup data del dfn em embed figcaption "
    "figure font footer form head header html i iframe img input ins kbd label link main map mark meta nav noscript "
    "object option picture pre q s samp script select small source span strike strong style sub summary sup svg tbody "
    "td template textarea tfoot th thead time title tt u var video wbr"
)
_HIDDEN = frozenset(("script", "style", "template", "noscript", "svg", "head", "iframe", "object"))


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text of a source. ``encoding`` is what it was read as; ``note`` says what was lost or guessed, if anything."""

    text: str
    encoding: str
    note: str | None = None


def title_of(path: Path) -> str:
    """A title from a file name: without suffixes, underscores as spaces."""
    name = path.name
    for _ in range(2):
        stem, dot, suffix = name.rpartition(".")
        if not dot or not stem or len(suffix) > 8 or not suffix.isalnum():
            break
        name = stem
        if suffix.lower() != "gz":
            break
    return name.replace("_", " ").strip()


def read_bytes(path: Path, *, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file; gzip is decompressed, never beyond the limit.

    Raises:
        UnreadableSource: missing, empty, or a damaged gzip stream.
        SourceTooLarge: more bytes than the limit, after decompression.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            data = gzip.GzipFile(fileobj=file).read(limit + 1) if packed else file.read(limit + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableSource(f"{path.name}: damaged gzip stream: {error}") from error
    except OSError as error:
        raise UnreadableSource(f"{path.name}: {error.strerror or error}") from error
    if len(data) > limit:
        raise SourceTooLarge(f"{path.name}: more than {limit} bytes of text", hint="split the file")
    if not data.strip(b" \t\r\n\x00"):
        raise UnreadableSource(f"{path.name}: empty file")
    return data


def decode(data: bytes, where: str) -> Decoded:
    """Text of bytes, and how sure that is.

    UTF-8 (with or without mark) and UTF-16 with mark are read exactly. Bytes that are not valid UTF-8 are read as
    Windows-1252 (Latin-1 where even that has gaps) with a note, or, in a text that is UTF-8 apart from few bytes, with
    those replaced by U+FFFD and counted in the note.

    Raises:
        UnreadableSource: not text at all: the header of another format, or too many zero bytes.
    """
    for magic, what in _MAGIC:
        if data.startswith(magic):
            raise UnreadableSource(f"{where}: this is {what}, not text")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return Decoded(data.decode(encoding), encoding)
            except UnicodeDecodeError as error:
                if encoding == "utf-16":
                    raise UnreadableSource(f"{where}: damaged UTF-16 text: {error.reason}") from error
                data = data[len(mark) :]
    if data.count(0) > max(3, len(data) // 100):
        raise UnreadableSource(f"{where}: binary data, not text")
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return _decode_broken(data)


def _decode_broken(data: bytes) -> Decoded:
    replaced = data.decode("utf-8", errors="replace")
    lost = replaced.count("\ufffd")
    kept = sum(1 for c in replaced if c > "\x7f") - lost
    if kept > 2 * lost:
        return Decoded(replaced, "utf-8", f"{lost} bytes were not valid UTF-8 and were replaced")
    for encoding in ("cp1252", "latin-1"):
        try:
            return Decoded(data.decode(encoding), encoding, f"not valid UTF-8: read as {encoding}")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def clean(text: str) -> str:
    """Text in NFC without control, zero-width and private characters; line breaks become ``\\n``."""
    return text if _PLAIN.fullmatch(text) else without_controls(unicodedata.normalize("NFC", text))


def strip_html(text: str) -> str:
    """Text without HTML tags and entities; block tags become line breaks, scripts and styles vanish.

    Only names of HTML elements count as tags, so that "a < b" and "<unknown>" stay as they are. Linear in the length.
    """
    if "<" not in text:
        return html.unescape(text) if "&" in text else text
    pieces: list[str] = []
    hidden: str | None = None
    start = 0
    text = _without_comments(text)
    for match in _TAG.finditer(text):
        name = match[2].lower()
        if name not in _TAGS:
            continue
        if hidden is None:
            pieces.append(text[start : match.start()])
            pieces.append("\n\n" if name == "p" else "\n" if name in _BREAKS else " " if name in ("td", "th") else "")
        start = match.end()
        if hidden is None and name in _HIDDEN and not match[1] and not match[0].endswith("/>"):
            hidden = name
        elif name == hidden and match[1]:
            hidden = None
    if hidden is None:
        pieces.append(text[start:])
    return html.unescape("".join(pieces))


def _without_comments(text: str) -> str:
    pieces: list[str] = []
    start = 0
    while (opened := text.find("<!--", start)) >= 0:
        closed = text.find("-->", opened + 4)
        if closed < 0:
            break
        pieces.append(text[start:opened])
        start = closed + 3
    pieces.append(text[start:])
    return "".join(pieces)


def plain_value(value: str) -> str:
    """A free-text value of a table, ready to be split: HTML and control characters gone, length limited."""
    return clean(strip_html(value[:MAX_VALUE])).strip()


def one_line(value: str, limit: int = 300) -> str:
    """A short value (a name, a heading): like :func:`plain_value`, on one line, cut at ``limit`` characters."""
    return " ".join(plain_value(value[: limit * 10]).split())[:limit].strip()
