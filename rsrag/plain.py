"""Untrusted text made plain: what evidence may show to a reader, and what a reader may show to people."""

from __future__ import annotations

import re
import unicodedata

_KEEP = {"\n", "\t"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
_LIST = r"(?:evidence\s+)?\d{1,4}(?:\s*(?:,|;|–|-|and|†\S*)\s*(?:\d{1,4})?)*"
CITATION = re.compile(rf"\[\s*{_LIST}\s*\]|【\s*{_LIST}[^】]{{0,400}}】|［\s*{_LIST}\s*］", re.IGNORECASE)
"""What counts as a citation in a reader's output, and therefore must not stand in evidence."""
_BRACKETED = re.compile(
    rf"{CITATION.pattern}|[\[［]\s*\d+(?:\s*[,;–-]\s*\d+)*\s*[\]］]|【[^】]{{0,40}}】", re.IGNORECASE
)
_TAG = re.compile(r"[<＜﹤](?=[\s/|!?<＜﹤-]*[A-Za-z_|])")
_CHAT = re.compile(r"\[/?(?:INST|SYS)\]|<</?SYS>>|\|>", re.IGNORECASE)
_HARMLESS = str.maketrans("<＜﹤>[]【】［］", "‹‹‹›()()()")
_RULE = re.compile(r"^\s*(?:-{3,}|={3,}|#{2,}|`{3,}|~{3,})\s*$", re.MULTILINE)
_HTML = re.compile(r"</?[A-Za-z][^<>]{0,400}>|<!--.*?-->", re.DOTALL)
_OPENING = re.compile(r"<(?=[A-Za-z/!?])")
_IMAGE = re.compile(r"!\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?")
_LINK = re.compile(r"\[([^\]\d][^\]]*)\]\([^)]*\)")
_URL = re.compile(r"\b(?:https?|ftp|file|data|javascript):\S+", re.IGNORECASE)
_MARKS = re.compile(r"^\s{0,3}(?:#{1,6}\s+|>\s+|[-*+]\s+|\d{1,2}[.)]\s+(?=\S))", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*\*|__|\*|`+)(\S(?:.*?\S)?)\1")


def without_controls(text: str) -> str:
    """Text in NFC without control, format (zero-width, bidirectional, tag), private and unassigned characters."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in text if c in _KEEP or unicodedata.category(c) not in _HIDDEN)


def clipped(text: str, limit: int) -> str:
    """At most ``limit`` characters, cut at a word, with an ellipsis where something was cut."""
    if len(text) <= limit:
        return text
    cut = text[: max(1, limit - 1)]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit // 2 else cut).rstrip() + "…"


def quoted(text: str, limit: int = 1200) -> str:
    """Evidence text that cannot leave its fence.

    Control characters go; an angle bracket that could open a tag or chat marker becomes a typographic quote, so that no
    fence, role or image marker can be forged; markers of chat templates and rules between sections go; bracketed
    numbers (footnotes of the source) go, because [n] means evidence here.

    What goes may join what stood around it into a new marker ("<[1]/evidence>", "[[1]2]"). So the last steps only
    exchange characters: after them nothing is taken out that could join anything.
    """
    text = _BRACKETED.sub("", _CHAT.sub(" ", without_controls(text)))
    text = _RULE.sub("", text)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" (?=[.,;:!?](?:\s|$))", "", text)
    text = re.sub(r"\s*\n\s*", "\n", text).strip()
    for marker in (_BRACKETED, _CHAT, _TAG):
        text = marker.sub(_harmless, text)
    return clipped(text, limit)


def _harmless(marker: re.Match[str]) -> str:
    """A marker with typographic or round brackets instead of its own, of the same length."""
    return marker[0].translate(_HARMLESS)


def spoken(text: str, limit: int = 4000) -> str:
    """A reader's output as plain text: no HTML, Markdown, images, links or control characters; length capped.

    Citations such as [2] stay. Nothing in the result can load or link to anything, not even what arises when markup is
    taken out of markup ("<scr<b>ipt>", "ht**t**p://x"): addresses go when nothing else is to go, and then what is left
    of tags and links is broken without taking anything out.
    """
    text = without_controls(text)
    text = _IMAGE.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = _HTML.sub("", text)
    text = _MARKS.sub("", text)
    text = _EMPHASIS.sub(r"\2", text)
    text = _URL.sub("", text)
    text = _OPENING.sub("‹", text).replace("](", "] (")
    text = re.sub(r"\s+", " ", text).strip()
    return clipped(text, limit)
