"""What a question about a change asks for, and its answer from mask and statistics: nothing is generated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rsrag.adapters.change import describe
from rsrag.adapters.change.indices import BARE, BUILT, VEGETATION, WATER
from rsrag.adapters.measure import area_text
from rsrag.facts import position_text

if TYPE_CHECKING:
    from rsrag.adapters.change.request import ChangeResult, Transition

Intent = Literal["caption", "binary", "count", "locate", "amount", "kind", "when", "largest", "open"]
"""The six interaction types of change dialogues are caption, binary, count, locate, open and several turns of them;
amount, kind, when and largest are open questions that the statistics answer."""

Direction = Literal["gained", "lost"]
_FAR = 1_000_000

_THINGS: dict[str, str] = {
    WATER: r"water|river|lake|pond|flood\w*|sea|reservoir|stream|channel",
    VEGETATION: r"vegetation|forest|trees?|woods?|grass\w*|green\w*|plants?|crops?|meadows?|deforest\w*",
    BARE: r"bare\s?(?:land|ground|soil)?|soil|sand\w*|desert|construction sites?|mud",
    BUILT: r"built\S*|buildings?|houses?|villas?|roads?|urban\w*|construct\w*|settlements?|structures?|parking",
}
_GAINED = (
    r"\b(?:new|gain\w*|appear\w*|added|built(?![-\s]?up)|grew|grow\w*|(?<!how much )(?<!how many )more"
    r"|constructed|emerg\w*|expan\w*|gone up|planted|regr[eo]w\w*)\b"
)
_LOST = (
    r"\b(?:lost|lose|loss|disappear\w*|gone(?!\s+up)|removed|destroy\w*|demolish\w*|cleared|less|shr[aiu]nk\w*"
    r"|deforest\w*|fewer|felled|cut down|torn down|dr(?:y|ied|ies|ying) (?:up|out))\b"
)
_ON_BALANCE = (
    r"\b(?:increas\w*|enlarg\w*|larger|bigger|wider|widen\w*|spread\w*|rose|risen|rising|decreas\w*|reduc\w*|declin\w*"
    r"|diminish\w*|retreat\w*|reced\w*|smaller|narrow\w*)\b"
)
"""Gains and losses together say whether it did."""
_NEGATED = r"(?<!or )(?<!/)\b(?:no|not)\b|n['’]t\b|\b(?:nothing|none|never|unchanged|unaltered)\b|\bthe same\W*$"
"""Yes and no are both ambiguous answers to "did nothing change?": how much did is said instead."""
_REPLACED = r"\breplaced (?:by|with)\b"
"""What stands before it was lost, what stands after it was gained."""
_EITHER = rf"{_GAINED} or {_LOST}|{_LOST} or {_GAINED}"
_PATTERNS: tuple[tuple[Intent, str], ...] = (
    ("locate", r"\bwhere\b|\bwhich (?:part|cell|corner|area|region|side)s?\b|\blocat\w*|\bposition\w*"),
    ("locate", r"3\s?[x×]\s?3|\bgrid\b"),
    ("largest", r"\b(?:largest|biggest|greatest|most extensive|main) (?:single )?(?:change|area|one|region)"),
    ("amount", r"\bhow (?:much|large|big|extensive)\b|\b(?:area|extent|hectares?|percent\w*)\b"),
    ("amount", r"\b(?:share|proportion|fraction)\b"),
    ("count", r"\bhow many\b|\bnumber of\b|\bcount\b|\bquantif\w*"),
    ("when", r"\bwhen\b|\bwhich (?:dates?|years?)\b|\bwhat dates?\b|\bhow long\b"),
    ("kind", r"\binto what\b|\bturn\w* into\b|\breplaced? by\b|\bwhat (?:kind|type|sort)|\bfrom what\b|\bbec[ao]me\b"),
    ("caption", r"\bdescribe\b|\bcaption\b|\bsummar\w*|\bwhat happened\b|\btell me\b|\bexplain\b"),
    ("caption", r"\bwhat (?:has |have |was |were )?(?:been )?chang\w*"),
    ("caption", r"\bwhat (?:is|are) (?:the )?(?:changes?|differences?|different)\b"),
    ("binary", r"^\W*(?:did|has|have|is|are|was|were|do|does|any|can you see)\b|\byes or no\b|\bchanged\?\s*$"),
)
_BACK = re.compile(
    r"\b(?:it|its|they|them|their|those|these|that|there|ones?)\b|^\W*(?:and|where|how many|how much)\W*$"
    r"|^\W*(?:and )?how (?:many|much) (?:was|were|has been|have been) (?!chang)\w+\W*$"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question understood.

    Attributes:
        intent: what is wanted.
        thing: kind of ground that it is about, or None for all change.
        direction: "gained", "lost", or None for both.
    """

    intent: Intent
    thing: str | None = None
    direction: Direction | None = None


def understand(question: str, earlier: Sequence[Asked] = ()) -> Asked:
    """What a question asks for; what it leaves out ("where are they?") is taken from the turn before."""
    text = " ".join(question.lower().split())
    intent: Intent = next((name for name, pattern in _PATTERNS if re.search(pattern, text)), "open")
    if intent == "binary" and re.search(f"{_NEGATED}|{_ON_BALANCE}", text):
        intent = "amount"
    thing = next((name for name, pattern in _THINGS.items() if re.search(rf"\b(?:{pattern})\b", text)), None)
    direction = _direction(text, thing)
    asked = Asked(intent, thing, direction)
    if earlier and thing is None and (_BACK.search(text) or ("chang" not in text and len(text.split()) <= 3)):
        asked = replace(asked, thing=earlier[-1].thing, direction=direction or earlier[-1].direction)
    return asked


def _direction(text: str, thing: str | None) -> Direction | None:
    """Whether a question is about what was gained or lost: by the word for it that is nearest to the thing."""
    if re.search(_EITHER, text):
        return None
    said: list[tuple[Direction, re.Match[str]]] = [("lost", found) for found in re.finditer(_LOST, text)]
    said += [("gained", found) for found in re.finditer(_GAINED, text)]
    if thing is None:
        return said[0][0] if said else "gained" if re.search(r"\bmore\b", text) else None
    ways: list[tuple[int, int, bool, Direction]] = []
    for named in re.finditer(rf"\b(?:{_THINGS[thing]})\b", text):
        for direction, found in said:
            ways.append((_apart(text, named, found, direction), named.start(), direction == "gained", direction))
        for found in re.finditer(_REPLACED, text):
            direction = "lost" if named.start() < found.start() else "gained"
            ways.append((_apart(text, named, found, direction), named.start(), direction == "gained", direction))
    if ways:
        return min(ways)[-1]
    return "gained" if re.search(r"\bmore\b", text) else None


def _apart(text: str, named: re.Match[str], found: re.Match[str], direction: Direction) -> int:
    """Words between a thing and a word that says what became of it.

    One word may be both: deforestation says by itself that something was lost, while what is built may be gone again.
    """
    if named.start() < found.end() and found.start() < named.end():
        return -1 if direction == "lost" else _FAR
    return len(text[min(named.end(), found.end()) : max(named.start(), found.start())].split())


def answer(asked: Asked, result: ChangeResult) -> str:
    """The answer from a comparison's mask and statistics."""
    if asked.intent == "when" and asked.thing is None:
        return f"The images compared are of {result.before.when} and {result.after.when}."
    if result.compared == 0:
        return "Nothing could be compared: no pixel is valid at both dates."
    if asked.thing is not None:
        return _about_thing(asked, result)
    if not result.changed:
        return {
            "binary": "No.",
            "count": "None: no changed area was found.",
            "locate": "Nowhere: no change was found.",
            "amount": "None of the compared ground changed.",
        }.get(asked.intent, f"No change was found between {result.before.when} and {result.after.when}.")
    if asked.intent == "binary":
        return f"Yes: {describe.amount(result.area_m2, result.share)} changed."
    if asked.intent == "count":
        return f"{describe.counted(result.count).capitalize()}."
    if asked.intent == "locate":
        return f"{describe.where(describe.places(result)).capitalize()}{_position(result)}."
    if asked.intent == "amount":
        return f"{describe.amount(result.area_m2, result.share)} of the compared ground changed."
    if asked.intent == "largest":
        return _largest(result)
    if asked.intent == "kind":
        return _kinds(result)
    return " ".join(sentence.text for sentence in describe.sentences(result))


def _position(result: ChangeResult) -> str:
    centre = result.regions[0].centre if result.regions else None
    return f"; the largest change lies at {position_text(*centre)}" if centre is not None else ""


def _largest(result: ChangeResult) -> str:
    if not result.regions:
        return f"{describe.amount(result.area_m2, result.share)} changed; no single area stands out."
    region = result.regions[0]
    named = {fact.name: fact.value for fact in region.facts}
    size = named.get("area")
    extent = area_text(float(size)) if isinstance(size, int | float) else f"{float(named.get('pixels', 0)):,.0f} pixels"
    kind = "" if region.label == "change" else f" ({region.label})"
    cell = str(named.get("cell", "")).replace("center", "centre")
    at = f", at {position_text(*region.centre)}" if region.centre is not None else ""
    return f"The largest change{kind} covers {extent} in the {cell}{at}."


def _kinds(result: ChangeResult) -> str:
    told = [t for t in result.transitions if t.before != t.after][:4]
    if not result.transitions:
        return "The kinds of ground cannot be told from these images: name their bands with --bands."
    if not told:
        return "The ground changed its look but stayed of the same kind."
    return " ".join(describe.transition(t, result) for t in told)


def _about_thing(asked: Asked, result: ChangeResult) -> str:
    """Answers about one kind of ground: what was gained, what was lost."""
    name = asked.thing or ""
    if not result.changed:
        return f"No. No change of {name} was found." if asked.intent == "binary" else f"No change of {name} was found."
    if not result.transitions:
        return f"Whether it is {name} cannot be told from these images: name their bands with --bands."
    gained = [t for t in result.transitions if t.after == name and t.before != name]
    lost = [t for t in result.transitions if t.before == name and t.after != name]
    chosen = gained if asked.direction == "gained" else lost if asked.direction == "lost" else [*gained, *lost]
    what = {"gained": f"new {name}", "lost": f"lost {name}"}.get(asked.direction or "", f"changes of {name}")
    if not chosen:
        return f"No {what} was found." if asked.intent != "binary" else f"No: no {what} was found."
    if asked.intent == "count":
        number = sum(t.count for t in chosen)
        if not number:
            return f"No area of {what} is large enough to count: {_extent(chosen, result)} in all."
        parts = (
            "" if asked.direction else f" ({sum(t.count for t in gained)} gained, {sum(t.count for t in lost)} lost)"
        )
        return f"{number:,} area{'' if number == 1 else 's'} of {what}{parts}."
    if asked.intent == "locate":
        cells = tuple(c for c in describe.CELL_NAMES if any(c in t.cells for t in chosen))
        return f"{what.capitalize()}: {describe.where(cells)}."
    said = []
    for verb, part in (("gained", gained), ("lost", lost)):
        if part and asked.direction in (None, verb):
            extent = _extent(part, result)
            what = f"{name} was {verb} on {extent}" if "%" in extent else f"{extent} of {name} was {verb}"
            said.append(what)
    both = " and ".join(said)
    both += f" between {result.before.when} and {result.after.when}" if asked.intent == "when" else ""
    lead = "Yes: " if asked.intent == "binary" else ""
    text = f"{lead}{both}."
    if asked.intent in ("kind", "caption", "open"):
        text += " " + " ".join(describe.transition(t, result) for t in chosen[:3])
    return text[:1].upper() + text[1:]


def _extent(found: Sequence[Transition], result: ChangeResult) -> str:
    areas = [t.area_m2 for t in found]
    if all(area is not None for area in areas):
        return area_text(sum(area for area in areas if area is not None))
    total = sum(t.pixels for t in result.transitions) or 1
    return f"{100 * sum(t.pixels for t in found) / total:.0f} % of the changed pixels"
