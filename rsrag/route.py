"""Which task a question is about: an answer from the archive, or change, count, locate, outline on an image's pixels.

Every decision is one rule of a table with the words that triggered it, so that it can be shown, tested and overruled
(``--task``). A question that no rule takes is answered from the archive, as before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rsrag.errors import UsageError
from rsrag.words import fold

Task = Literal["answer", "change", "count", "locate", "outline"]
TASKS: tuple[Task, ...] = ("answer", "change", "count", "locate", "outline")

_THINGS = r"[a-z][a-z' -]*?"
_IMAGE = r"(?:image|picture|photo|photograph|scene|tile|chip|view|frame)"
_WITHIN = rf"(?:in|on|within|of|across|inside) (?:this|that|the) {_IMAGE}|here|visible|shown|can (?:you|we|i) see"
_END = rf"(?= (?:are|is|were|can|do|does|there|{_WITHIN}|in view|near|by|next|that|which|with|on|at|in)\b|[?.!,]|$)"
_CHANGED = r"(?:chang\w+|differ\w*|appear\w*|disappear\w*|vanish\w*|expand\w*|shr[aiu]nk\w*|grown?|grew|gained|lost)"
_MOVED = r"(?:mov|shift|retreat|advanc|migrat|erod|meander)(?:e|ed)?"
_MADE = r"(?:built|constructed|erected|demolished|removed|cleared|felled|flooded|drained|burn(?:ed|t)|destroyed)"
_SEEN = r"(?:19[4-9]\d|20\d\d)"
"""A year that a picture from above may be of: what was built since 1200 is for the texts."""
_SPAN = r"(?:since|between|from|after|before|over|during|compared)"
_HERE = re.compile(rf" (?:{_WITHIN})\b")
_CLAUSE = re.compile(r"[?.!;]|,?\s(?:and|or|but) (?:who|what|when|where|why|how|which|is|are|was|were|does|did)\b")
"""Where another sentence or question begins."""
_YEAR = r"(?:1[89]\d\d|20\d\d)"
_ABSTRACT = re.compile(
    r"\b(?:who|when|why|how|what|whether|history|story|differences?"
    r"|people|inhabitants|residents|visitors|tourists|years?|centur\w+|kings?|hectares?|metres?|meters?|km2?|times?"
    r"|countries|states|species|languages|members|percent|sites?|properties|passages|documents|scenes|images|tiles|dates)\b"
)


@dataclass(frozen=True, slots=True)
class Route:
    """What a question is sent to.

    Attributes:
        task: the task.
        why: the rule and the words of the question that triggered it, for people.
        target: what is counted, located or outlined, in the question's words; empty for others.
        years: years that the question names, in order.
        missing: what a task that the question is about would need; empty where nothing is missing.
        phrase: the target with what the same clause says of it: "ships are near the bridge".
    """

    task: Task
    why: str
    target: str = ""
    years: tuple[int, ...] = ()
    missing: str = ""
    phrase: str = ""


_WORDED: tuple[tuple[Task, str, bool], ...] = (
    ("change", rf"\bwhat(?:'s| has| have|)? {_CHANGED}", False),
    ("change", rf"\b(?:has|have|did|is|are|was|were|how|any|which|what)\b.*\b{_CHANGED}\b.*\b{_SPAN}\b", False),
    ("change", rf"\bdid\b.*\b{_MOVED}\b.*\b{_SPAN}\b.*\b{_SEEN}\b", False),
    ("change", rf"\b(?:has|have)\b.*\b(?:{_MOVED}|been {_MADE})\b.*\b{_SPAN}\b.*\b{_SEEN}\b", False),
    ("change", rf"\b(?:changes?|differences?)\b(?! between an? ).*\b{_SPAN}\b|\bbefore and after\b", False),
    (
        "change",
        r"\b(?:has|have|did) (?:anything|something|much|it|this|(?:this|the) (?:area|place|scene|site))"
        r"(?: here)? change[ds]?\b",
        False,
    ),
    (
        "change",
        r"\bcompare (?:it |(?:this|the) (?:area|place|scene|site) )?(?:here )?(?:in |of |between |from )?"
        rf"{_YEAR}\b.*\b{_YEAR}\b",
        False,
    ),
    ("change", r"\bnew (?:\w+ )?(?:buildings?|roads?|houses?|construction)\b.*\b(?:since|between|after)\b", False),
    ("change", r"\bwhat(?:'s| is| has been)? new\b.*\b(?:since|between|after)\b", False),
    (
        "count",
        rf"\b(?:how many|count (?:all |the |all the )?|number of) ?(?P<phrase>(?P<target>{_THINGS})){_END}",
        True,
    ),
    (
        "outline",
        r"\b(?:outline|segment|delineate|trace|mask|map out) "
        rf"(?P<phrase>(?:all |the |every )*(?P<target>{_THINGS})){_END}",
        True,
    ),
    (
        "outline",
        rf"\bhow (?:much|large|big)\b.* (?:is|are|of|the|by|with) (?P<target>water|forest|vegetation|lake|lakes){_END}",
        True,
    ),
    (
        "outline",
        rf"\bhow much (?P<target>water|forest|vegetation) (?:(?:is|are) )?(?:there|{_WITHIN})\b",
        True,
    ),
    (
        "locate",
        r"\b(?:locate|point to|point out|detect|find(?! out\b)|show me|mark|box) (?:where )?"
        rf"(?P<phrase>(?:all |the |every |any |a |an )*(?P<target>{_THINGS})){_END}",
        True,
    ),
    (
        "locate",
        rf"^where (?:is|are) (?P<phrase>(?:the |all the |any )?(?P<target>{_THINGS})) (?:{_WITHIN})\b",
        True,
    ),
    (
        "locate",
        rf"\b(?:is|are) there (?P<phrase>(?:any |an? |some )?(?P<target>{_THINGS}))"
        rf" (?:in|on|within) (?:this|that|the) {_IMAGE}\b",
        True,
    ),
)
"""Task, what the question says, and whether the rule needs an image."""
_RULES = tuple((task, re.compile(pattern), pixels) for task, pattern, pixels in _WORDED)


def route(question: str, *, image: bool, pair: bool = False) -> Route:
    """Choose the task of a question. Pure.

    Args:
        question: as asked.
        image: whether an image came with it: only then are its pixels counted, searched or outlined.
        pair: whether the question came with two images, or the archive can be asked for two dates of a place.
    """
    folded = " ".join(fold(question).split())
    missing = ""
    years = tuple(dict.fromkeys(int(y) for y in re.findall(r"\b(1[89]\d\d|20\d\d)\b", folded)))
    for task, pattern, pixels in _RULES:
        match = pattern.search(folded)
        if match is None or (pixels and not image):
            continue
        if task == "change" and not (image or pair):
            missing = "to compare two dates of a place, name it with --where, or give an image of it"
            continue
        target = (match.groupdict().get("target") or "").strip(" ,")
        if pixels and (not target or _ABSTRACT.search(target)):
            continue
        return Route(task, f"{task}: {match[0].strip()!r}", target, years, phrase=_phrase(folded, match))
    return Route("answer", "answer: no rule for pixels fits", "", years, missing)


def _phrase(question: str, match: re.Match[str]) -> str:
    """What a rule found, to the end of its clause; empty for rules without."""
    if "phrase" not in match.re.groupindex:
        return ""
    rest = question[match.start("phrase") :]
    end = _CLAUSE.search(rest, match.end("phrase") - match.start("phrase"))
    return " ".join(_HERE.sub("", rest[: end.start()] if end is not None else rest).split())


def chosen(task: str, question: str, *, image: bool, pair: bool = False) -> Route:
    """The route that was asked for; "auto" is :func:`route`.

    Raises:
        UsageError: an unknown task, or one on pixels without an image or place.
    """
    found = route(question, image=image, pair=pair)
    if task == "auto":
        return found
    if task not in TASKS:
        raise UsageError(f"unknown task {task!r}", hint=f"one of auto, {', '.join(TASKS)}")
    if task in ("count", "locate", "outline") and not image:
        raise UsageError(f"{task} needs an image", hint="--image FILE")
    if task == "change" and not (image or pair):
        raise UsageError("change needs an image or a place", hint="--image FILE, or --where PLACE")
    target = found.target or " ".join(question.split()).rstrip("?.!")
    if task in ("answer", "change"):
        return Route(task, f"{task}: asked for", "", found.years)  # type: ignore[arg-type]
    return Route(task, f"{task}: asked for", target, found.years, phrase=found.phrase)  # type: ignore[arg-type]
