"""What else the ground may be: background prompts without those that are kinds of the thing asked for."""

from __future__ import annotations

from rsrag.adapters.heat import BACKGROUND
from rsrag.adapters.segment.priors import named
from rsrag.words import terms

KIN = (
    ({"vegetation", "plants", "greenery", "green"}, {"grass", "trees", "forest", "farmland"}),
    ({"water", "waters"}, {"water", "sea"}),
    ({"building", "buildings", "houses", "roofs", "settlement", "town"}, {"houses", "buildings", "industrial area"}),
    ({"ground", "soil", "land", "bare"}, {"bare ground", "desert", "beach"}),
    ({"road", "roads", "street", "streets", "asphalt", "pavement"}, {"road", "pavement"}),
)
"""Words for a kind of ground, and prompts that name parts of it: a meadow does not speak against vegetation."""


def rivals(text: str) -> tuple[str, ...]:
    """The background prompts that compete with the thing that a text names: of "boats on the lake" all."""
    words = set(named(text)[-1:])
    kin = {prompt for names, prompts in KIN for prompt in prompts if words & {t for n in names for t in terms(n)}}
    return tuple(prompt for prompt in BACKGROUND if prompt not in kin)
