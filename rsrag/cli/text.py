"""Untrusted text made safe for a terminal: names, titles and passages come from files nobody has checked."""

from __future__ import annotations

from rich.text import Text

from rsrag.plain import without_controls


def one_line(text: object) -> str:
    """Text on one line, without control, bidirectional and other invisible characters."""
    return " ".join(without_controls(str(text)).split())


def line(text: object, style: str = "") -> Text:
    """A styled line that keeps leading and trailing blanks; square brackets in it mean nothing."""
    raw = str(text)
    inner = one_line(raw)
    if not inner:
        return Text(" " if raw else "", style=style)
    return Text((" " if raw[0].isspace() else "") + inner + (" " if raw[-1].isspace() else ""), style=style)
