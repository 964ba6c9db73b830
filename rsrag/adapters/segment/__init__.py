"""Outlines and areas of what a text names: the adapter ``segment``."""

from rsrag.adapters.segment.adapter import SEGMENT, Segmentation
from rsrag.adapters.segment.request import SegmentRequest

__all__ = ["SEGMENT", "SegmentRequest", "Segmentation"]
