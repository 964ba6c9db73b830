"""What the archive says of a place weighs the labels (knowledge-conditioned as in RS-RAG), with citations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context
from rsrag.adapters.look import View
from rsrag.compose import number_evidence
from rsrag.errors import UsageError
from rsrag.models.base import Picture
from rsrag.types import Evidence, Hit, QueryImage
from rsrag.words import terms

ODDS = 8.0
"""How much likelier a label gets when the place's kind or name says it; a passage that uses its words counts a half."""
_PASSAGES = 6


def weigh(
    view: View, picture: Picture, labels: Sequence[str], context: Context
) -> tuple[npt.NDArray[np.float64], tuple[Evidence, ...]]:
    """A factor a label, float64 [C], and the passages that gave it.

    The image is located by its own footprint or by recognition among the archive's tiles; passages about places there
    speak for the labels whose words they use.

    Raises:
        UsageError: there is no archive.
    """
    if context.archive is None:
        raise UsageError("knowledge needs an archive", hint="run it in a workspace, or name one with --workspace")
    subject = view.subject
    query = QueryImage(picture, subject.name, subject.footprint, subject.time, subject.gsd_m)
    found = context.archive.retrieve(None, image=query, limit=_PASSAGES)
    weights = np.ones(len(labels))
    used: list[Hit] = []
    if found.location is None:
        return weights, ()
    for hit in found.passages[:_PASSAGES]:
        if hit.passage is None:
            continue
        named = set(terms(" ".join(filter(None, [hit.place.name, hit.place.kind] if hit.place else []))))
        said = set(terms(f"{hit.passage.heading or ''} {hit.passage.text}"))
        spoke = False
        for number, label in enumerate(labels):
            words = set(terms(label))
            if words and words <= named:
                weights[number] = max(weights[number], ODDS)
                spoke = True
            elif words and words <= said:
                weights[number] = max(weights[number], ODDS / 2)
                spoke = True
        if spoke:
            used.append(hit)
    return weights, number_evidence(used, context.settings.token_budget)
