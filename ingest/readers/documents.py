"""Documents as sections of clean text: Markdown, plain text, PDF, and records of JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsrag.errors import SourceTooLarge, UnreadableSource, UnsupportedSource
from rsrag.ingest.readers.text import MAX_BYTES, MAX_VALUE, clean, decode, one_line, read_bytes, strip_html, title_of

MAX_PAGES = 5_000
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*)")
_UNDERLINE = re.compile(r"(=+|-{2,})[ \t]*")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})")
_KEY = re.compile(r"([A-Za-z][\w -]{0,60}?)[ \t]*:(?:[ \t]+(.*)|[ \t]*)")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()\s]*(?:\([^()]*\)[^()\s]*)?(?:[ \t]+\"[^\"]*\")?\)|\[[^\[\]]*\])")
_REFERENCE = re.compile(r"(?m)^[ \t]{0,3}\[[^\]]+\]:[ \t]+\S.*$")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3})(?=\S)([^*_\n]{1,500}?)(?<=\S)\1(?![\w*])")
_CODE = re.compile(r"(`{1,8})([^`\n]+)\1")
_RULE = re.compile(r"(?m)^[ \t]*(?:[-*_][ \t]*){3,}$")
_TABLE_RULE = re.compile(r"(?m)^[ \t]*\|?(?:[ \t]{0,9}:?-{2,}:?[ \t]{0,9}\|)+[ \t]{0,9}:?-*:?[ \t]*$\n?")
_CELLS = re.compile(r"[ \t]*\|[ \t]*")
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of text under one heading."""

    text: str
    heading: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A document as read.

    Attributes:
        title: from the document itself, else from its file name.
        sections: in order, each with text.
        fields: what the document says about itself (front matter): title, place, lat, lon, date, licence, sources...
        properties: format, encoding and what was lost, for the document's record.
        problems: lines or pages that could not be read.
    """

    title: str
    sections: tuple[Section, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One line of a JSON lines file: an object, or the reason why it is none."""

    number: int
    values: Mapping[str, Any]
    problem: str | None = None


def _decoded(path: Path) -> tuple[str, dict[str, Any]]:
    found = decode(read_bytes(path, limit=MAX_DOCUMENT_BYTES), path.name)
    # Form feeds separate pages of plain text; they are paragraph breaks before control characters go.
    text = found.text.replace("\f", "\n\n")
    cleaned = clean(text)
    properties: dict[str, Any] = {"encoding": found.encoding}
    if found.note:
        properties["decoding"] = found.note
    if controls := sum(1 for c in text if c < " " and c not in "\n\r\t"):
        properties["control_characters_removed"] = controls
    return cleaned, properties


def read_plain(path: Path) -> Text:
    """A plain text, one section.

    Raises:
        UnreadableSource: empty or binary.
        SourceTooLarge: beyond 64 MiB.
    """
    text, properties = _decoded(path)
    return Text(title_of(path), (Section(text.strip()),), properties={"format": "text"} | properties)


# Markdown


def read_markdown(path: Path) -> Text:
    """A Markdown document, one section a heading; marks, link targets, images and HTML are removed.

    Headings above a section are kept: "History › Middle Ages". Front matter is a block of ``key: value`` lines between
    two lines of three dashes, with lists as ``[a, b]`` or as lines that begin with a dash.

    Raises:
        UnreadableSource: empty or binary.
        SourceTooLarge: beyond 64 MiB.
    """
    text, properties = _decoded(path)
    fields, problems, body = front_matter(text)
    sections: list[Section] = []
    title = str(fields.get("title") or "")
    path_of_headings: list[tuple[int, str]] = []
    for level, heading, block in _blocks(body):
        if level:
            if level == 1 and not title:
                title = heading
            path_of_headings = [(n, h) for n, h in path_of_headings if n < level]
            path_of_headings.append((level, heading))
        plain = plain_markdown(block)
        if plain:
            names = [h for _, h in path_of_headings if h and h != title]
            sections.append(Section(plain, " › ".join(names) or None))
    return Text(
        one_line(title) or title_of(path), tuple(sections), fields, {"format": "markdown"} | properties, tuple(problems)
    )


def front_matter(text: str) -> tuple[dict[str, Any], list[str], str]:
    """Fields, unreadable lines and the rest of a text that may begin with front matter."""
    lines = text.split("\n")
    if not lines or lines[0].strip() != "---":
        return {}, [], text
    end = next((n for n, line in enumerate(lines[1:200], start=1) if line.strip() in ("---", "...")), None)
    if end is None:
        return {}, [], text
    fields: dict[str, Any] = {}
    problems: list[str] = []
    key = ""
    for number, line in enumerate(lines[1:end], start=2):
        item = line.strip()
        if not item or item.startswith("#"):
            continue
        if item.startswith("- ") and key and (not fields[key] or isinstance(fields[key], list)):
            fields[key] = [*(fields[key] or []), _unquoted(item[2:])]
            continue
        match = _KEY.fullmatch(item)
        if match is None:
            problems.append(f"line {number}: not 'key: value': {item[:60]!r}")
            continue
        key = match[1].strip().lower().replace(" ", "_").replace("-", "_")
        fields[key] = _value(match[2] or "")
    return fields, problems, "\n".join(lines[end + 1 :])


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _value(text: str) -> Any:
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        parts = re.findall(r"\s*(\"[^\"]*\"|'[^']*'|[^,]+)", text[1:-1])
        return [_unquoted(p) for p in parts if p.strip()]
    return _unquoted(text)


def _blocks(body: str) -> Iterator[tuple[int, str, str]]:
    """(level, heading, text) in order; level 0 for the text before the first heading."""
    level, heading, block = 0, "", list[str]()
    fence = ""
    for line in body.split("\n"):
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1][0]
                continue
            if mark[1][0] == fence:
                fence = ""
                continue
        if fence:
            block.append(line)
            continue
        if match := _HEADING.fullmatch(line):
            yield level, heading, "\n".join(block)
            level, heading, block = len(match[1]), one_line(plain_markdown(match[2].strip().rstrip("#"))), []
        elif block and block[-1].strip() and _underlined(block, line):
            under = one_line(plain_markdown(block.pop()))
            yield level, heading, "\n".join(block)
            level, heading, block = (1 if line[0] == "=" else 2), under, []
        else:
            block.append(line)
    yield level, heading, "\n".join(block)


def _underlined(block: list[str], line: str) -> bool:
    alone = len(block) == 1 or not block[-2].strip()
    return alone and _UNDERLINE.fullmatch(line) is not None and "|" not in block[-1]


def plain_markdown(text: str) -> str:
    """Markdown without its marks: links keep their words, images vanish, table rows become comma-separated lines."""
    text = re.sub(r"!\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])", "", text)
    text = _LINK.sub(r"\1", _REFERENCE.sub("", text))
    text = _TABLE_RULE.sub("", _RULE.sub("", text))
    text = _CODE.sub(r"\2", text)
    text = _EMPHASIS.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    lines = []
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith("|") and stripped.endswith("|") and len(stripped) > 1:
            line = "\n" + ", ".join(c for c in _CELLS.split(stripped.strip("|").strip()) if c)
        lines.append(re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line))
    return strip_html("\n".join(lines)).strip()


# PDF


def read_pdf(path: Path) -> Text:
    """The text layer of a PDF, one section a page, headed "page n".

    Raises:
        UnreadableSource: damaged, or encrypted with a password.
        UnsupportedSource: no text layer (scanned pages).
        SourceTooLarge: beyond 256 MiB or 5,000 pages.
    """
    import pypdf
    from pypdf.errors import DependencyError, PyPdfError

    if path.stat().st_size > MAX_BYTES:
        raise SourceTooLarge(f"{path.name}: more than {MAX_BYTES} bytes", hint="split the document")
    faults = (PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OSError)
    try:
        with path.open("rb") as file:
            reader = pypdf.PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise UnreadableSource(f"{path.name}: encrypted PDF", hint="save it without a password")
            if len(reader.pages) > MAX_PAGES:
                raise SourceTooLarge(f"{path.name}: more than {MAX_PAGES} pages", hint="split the document")
            sections, problems = _pages(reader, faults)
            pages = len(reader.pages)
            title = one_line(str(reader.metadata.title or "")) if reader.metadata else ""
    except DependencyError as error:
        raise UnreadableSource(f"{path.name}: encrypted PDF", hint="save it without a password") from error
    except faults as error:
        raise UnreadableSource(f"{path.name}: damaged PDF: {error}") from error
    if not sections:
        if problems:
            raise UnreadableSource(f"{path.name}: no page can be read; {problems[0]}")
        hint = "its pages are pictures; run it through OCR first"
        raise UnsupportedSource(f"{path.name}: a PDF without a text layer", hint=hint)
    return Text(
        title or title_of(path), tuple(sections), properties={"format": "pdf", "pages": pages}, problems=tuple(problems)
    )


def _pages(reader: Any, faults: tuple[type[Exception], ...]) -> tuple[list[Section], list[str]]:
    sections: list[Section] = []
    problems: list[str] = []
    for number in range(1, len(reader.pages) + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except faults as error:
            problems.append(f"page {number}: {error}")
            continue
        text = _HYPHEN.sub("", clean(text)).strip()
        if text:
            sections.append(Section(text, f"page {number}"))
    return sections, problems


# JSON lines


def read_records(path: Path) -> tuple[Iterator[Record], dict[str, Any]]:
    """The objects of a JSON lines file in order, broken lines included as such, and how the file was decoded.

    Raises:
        UnreadableSource: empty or binary.
        SourceTooLarge: beyond 256 MiB.
        UnsupportedSource: training conversations (``messages``) instead of passages.
    """
    found = decode(read_bytes(path), path.name)
    properties: dict[str, Any] = {"format": "jsonl", "encoding": found.encoding}
    if found.note:
        properties["decoding"] = found.note
    lines = found.text.lstrip("\ufeff").split("\n")
    first = next((r for r in _records(lines) if r.problem is None), None)
    if first is not None and "messages" in first.values and not first.values.get("text"):
        hint = 'passages have at least a text: {"id": …, "place": …, "text": …}'
        raise UnsupportedSource(f"{path.name}: conversations for training (messages), not passages", hint=hint)
    return _records(lines), properties


def _records(lines: list[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line) > 4 * MAX_VALUE:
            yield Record(number, {}, f"longer than {4 * MAX_VALUE} characters")
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Record(number, {}, f"not valid JSON: {error}")
            continue
        if isinstance(values, dict):
            yield Record(number, values)
        else:
            yield Record(number, {}, "not a JSON object")
