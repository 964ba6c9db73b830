"""Classes of an image in the user's own words, how sure, and where: the adapter ``classify``."""

from rsrag.adapters.classify.adapter import CLASSIFY, Classification, ClassifyRequest, ClassScore

__all__ = ["CLASSIFY", "ClassScore", "Classification", "ClassifyRequest"]
