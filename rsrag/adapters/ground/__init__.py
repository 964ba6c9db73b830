"""The adapter ``ground``: words to boxes, boxes to words, counts, on scenes of any size."""

from rsrag.adapters.ground.adapter import GROUND, Ground, Grounding, GroundRequest

__all__ = ["GROUND", "Ground", "GroundRequest", "Grounding"]
