"""Sentences about an image: a small decoder with the captions of the nearest captioned pictures, or a large model."""

from rsrag.adapters.caption.adapter import CAPTION, STYLES, Caption, CaptionRequest

__all__ = ["CAPTION", "STYLES", "Caption", "CaptionRequest"]
