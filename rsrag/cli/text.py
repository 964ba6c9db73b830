"""Untrusted text made safe for a terminal: names, titles and passages come from files nobody has checked."""

from __future__ import annotations

from rich.text import Text

from rsrag.plain import without_controls


def one_line(text: object) -> str:
    """Text on one line, without control, bidirectional and other invisible characters."""
    return " ".join(without_controls(str(text)).split())


def line(text: object, style: str = "") -> Text:
    """A styled line that keeps one leading and one trailing blank; square brackets in it mean nothing.

    The style is that of this text alone, not of what is appended to it.
    """
    raw = str(text)
    inner = one_line(raw)
    before, after = (" " if raw[:1].isspace() else ""), (" " if inner and raw[-1:].isspace() else "")
    return Text().append(f"{before}{inner}{after}", style)
