"""Names of things: which of the detector's classes a phrase means, singular and plural, and what a box may show."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "airplane": ("airplane", "aeroplane", "plane", "aircraft", "jet", "airliner"),
    "ship": ("ship", "boat", "vessel", "yacht", "ferry", "barge", "tanker"),
    "storage tank": ("storage tank", "tank", "oil tank", "fuel tank", "gas tank", "oil storage tank"),
    "baseball diamond": (
        "baseball diamond", "baseball field", "baseball pitch", "ball field", "ballpark", "softball field",
    ),
    "tennis court": ("tennis court",),
    "basketball court": ("basketball court", "basketball field"),
    "ground track field": (
        "ground track field", "running track", "athletics track", "athletic track", "track field", "track and field",
    ),
    "harbor": ("harbor", "harbour", "pier", "dock", "jetty", "wharf", "quay"),
    "bridge": ("bridge", "overpass", "viaduct", "flyover", "footbridge"),
    "vehicle": ("vehicle", "car", "truck", "van", "bus", "lorry", "automobile"),
}  # fmt: skip
"""What people call the classes of NWPU VHR-10."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "sports field": ("baseball diamond", "tennis court", "basketball court", "ground track field"),
    "sports ground": ("baseball diamond", "tennis court", "basketball court", "ground track field"),
    "sports facility": ("baseball diamond", "tennis court", "basketball court", "ground track field"),
    "sports court": ("tennis court", "basketball court"),
    "court": ("tennis court", "basketball court"),
    "watercraft": ("ship",),
    "motor vehicle": ("vehicle",),
}
"""Names of several classes at once."""
_TABLE = {s: (name,) for name, known in SYNONYMS.items() for s in known} | dict(KINDS)
THINGS = (
    *SYNONYMS, "house", "large building", "factory", "parking lot", "road", "crossroads", "roundabout", "railway",
    "railway station", "runway", "swimming pool", "lake", "river", "sea", "beach", "forest", "trees", "meadow",
    "golf course", "farmland", "orchard", "greenhouses", "bare ground", "desert", "mountain", "rocks", "snow",
    "football field", "stadium", "church", "solar panels", "wind turbine", "construction site", "quarry", "dam",
    "cemetery", "playground",
)  # fmt: skip
"""What a box is compared with when no labels are given."""
_PLURALS = {"aircraft": "aircraft", "buses": "bus", "people": "person", "vehicles": "vehicle", "leaves": "leaf"}
_SAME = {"grass", "gas", "bus", "greenhouse gas", "series", "canvas", "us", "solar panels", "glass", "moss"}


_AND = re.compile(r"(\s(?:and|or)\s)")
_AFTER = re.compile(
    r"\s(?:along|among|amid|across|behind|between|beyond|besides|except|for|from|over|through|to|toward|towards"
    r"|with|without|(?:(?:larger|longer|smaller|shorter|bigger|wider) )?than)\s"
)
"""Words that what they follow is the thing of: "ships between the piers" are ships."""


def several(phrase: str) -> bool:
    """Whether a phrase names things of several kinds, as "the ship and the tank" does; "track and field" is one."""
    return _AND.search(phrase) is not None and phrase not in _TABLE


def singular(phrase: str) -> str:
    """A phrase with its things in the singular; what is singular stays as it is."""
    return _turned(phrase, _one)


def is_plural(phrase: str) -> bool:
    """Whether the thing of a phrase, its last word but for what follows a preposition, is a plural."""
    return singular(phrase) != phrase


def plural(phrase: str) -> str:
    """A phrase with its things in the plural."""
    return _turned(phrase, _many)


def _turned(phrase: str, turn: Callable[[str], str]) -> str:
    """A phrase with the last word of each thing turned; what follows a preposition is left as it is."""
    head, rest = _headed(phrase)
    parts = _AND.split(head)
    for place in range(0, len(parts), 2):
        before, space, last = parts[place].rpartition(" ")
        parts[place] = f"{before}{space}{turn(last)}"
    return "".join(parts) + rest


def _headed(phrase: str) -> tuple[str, str]:
    """A phrase parted where a preposition follows its thing: the second part begins with a space, or is empty."""
    found = _AFTER.search(phrase)
    return (phrase, "") if found is None else (phrase[: found.start()], phrase[found.start() :])


def _many(phrase: str) -> str:
    if _one(phrase) != phrase or phrase.endswith(("aircraft", "ground", "water", "snow", "farmland")):
        return phrase
    if phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + ("es" if phrase.endswith(("s", "x", "ch", "sh")) else "s")


def _one(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    if word in _SAME or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1]


ALIKE = 0.8
"""Cosine of a phrase's text vector with a synonym's from which they mean the same."""
_OTHERS = ("football pitch", "soccer field", "soccer pitch", "football field", "helicopter", "helipad", "baseball cap")


@dataclass(frozen=True, slots=True)
class Known:
    """What of a phrase the detector knows.

    Attributes:
        classes: it may mean.
        unheard: words of the phrase that the detector does not judge, such as "white".
        alike: the synonym it was taken for, when only the text encoder sees the likeness.
    """

    classes: tuple[str, ...]
    unheard: str = ""
    alike: str = ""


def class_of(phrase: str, encode: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None = None) -> Known | None:
    """The detector's classes that a phrase means; None if it means none of them.

    The longest name at the end of the phrase counts: "white cars" are vehicles that are said to be white; so does what
    stands before a preposition, "ships between the piers" being ships. "Ships and tanks" are of both classes. A phrase
    that ends in no known name may still mean one: if its text vector is nearer to a synonym than to other things.

    Args:
        phrase: in words.
        encode: texts to unit vectors.
    """
    words = singular(" ".join(phrase.casefold().replace("-", " ").split()))
    head, rest = _headed(words)
    if several(head):
        parts = [class_of(part, encode) for part in _AND.split(head)[::2]]
        each = [part for part in parts if part is not None]
        if len(each) == len(parts):
            classes = tuple(dict.fromkeys(name for part in each for name in part.classes))
            unheard = " ".join(filter(None, [*(part.unheard for part in each), rest.strip()]))
            return Known(classes, unheard, " and ".join(filter(None, (part.alike for part in each))))
    fitting = [s for s in _TABLE if head == s or head.endswith(f" {s}")]
    if fitting and head not in THINGS[len(SYNONYMS) :] and head not in _OTHERS:
        best = max(fitting, key=len)
        return Known(_TABLE[best], f"{head[: -len(best)].strip()}{rest}".strip())
    if encode is None or not words:
        return None
    others = [*THINGS[len(SYNONYMS) :], *_OTHERS]
    names = [*(s for known in SYNONYMS.values() for s in known), *others]
    cosines = encode(names) @ encode([words])[0]
    nearest = names[int(cosines.argmax())]
    if nearest in others or float(cosines.max()) < ALIKE:
        return None
    return Known(_TABLE[nearest], alike=nearest)
