"""The frame of every page that rsrag writes: one file that loads nothing, in which all text is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files

from rsrag.plain import clipped, without_controls

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content security policy: embedded pictures and styles, nothing else."""


def escaped(value: object) -> str:
    """Untrusted text for element content and quoted attributes: one line, no control characters."""
    return html.escape(" ".join(without_controls(str(value)).split()), quote=True)


def page(kind: str, heading: str, title: str, body: Sequence[str]) -> str:
    """A whole page.

    Args:
        kind: what it is, beside the name of rsrag.
        heading: of the page.
        title: of the window.
        body: HTML below the heading, everything in it escaped already.
    """
    style = files("rsrag").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
        f"<title>{escaped(clipped(title, 80))} · rsrag</title><style>{style}</style></head><body>"
        f'<header class="top"><span class="brand">rsrag</span><span>{escaped(kind)}</span></header>'
        f"<main><h1>{escaped(heading)}</h1>{''.join(body)}</main></body></html>\n"
    )
