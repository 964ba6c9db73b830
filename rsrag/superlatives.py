"""Whether a sentence tells of the greatest that is asked about: of all, not the second one, nor that of a region.

"Which lake is the deepest?" shares its words with the second deepest lake and with the deepest one of North America as
well as with the deepest of all. Rules, not fitted.
"""

from __future__ import annotations

import re
from enum import IntEnum

from rsrag.words import terms

_LIKE = {"biggest": "largest", "tallest": "highest", "earliest": "oldest", "broadest": "widest"}
_WORDS = (
    "deepest|largest|biggest|greatest|longest|shortest|highest|tallest|lowest|oldest|earliest|youngest|smallest|widest|"
    "broadest|narrowest|shallowest|driest|wettest|coldest|hottest|northernmost|southernmost|easternmost|westernmost"
)
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth",
)  # fmt: skip
_RANK = rf"{'|'.join(ORDINALS[1:])}|next|\d{{1,3}}(?:st|nd|rd|th)"
_SAID = re.compile(
    rf"(?<!\bits )(?<!\btheir )(?:\b(?P<rank>{_RANK})[\s-]+)?\b(?P<word>{_WORDS})\b(?=(?P<rest>[^.;]*))", re.IGNORECASE
)
"""Not "406 m deep at its deepest", which compares a thing with itself."""
_NAME = r"[A-ZÀ-Ý][\w'’-]*"
_SIDE = r"(?:[\w-]*(?:north|south|east|west)(?:ern)?|central|insular|mainland|tropical)\s+"
_SCOPE = re.compile(
    r"(?:[\s,(]+[\w'’-]+\)?){0,7}?\s+(?:in|of|on|within|among)\s+"
    r"(?P<name>(?:its|their)\s+(?:kind|type|class|sort)|(?:an?\s+)[\w'’-]+(?:\s+[\w'’-]+)?"
    rf"|(?:the\s+)?(?:{_SIDE})?{_NAME}(?:\s+{_NAME})*)"
)
"""Within eight words: "in North America", "of the Great Lakes", "in a freshwater lake", "in the insular Pacific", "of
its kind"."""
_OF_FEW = re.compile(r"\s+of (?:which|whom|them)\b")
"""The greatest of those that were just named."""
_ENDS = "in|of|on|within|among|and|or|by|with|for|to|at|from|that|which|ever|is|are|was|were"
_HEAD = re.compile(rf"(?:\s+of (?:all|the|these|those)\b)?(?:\s+(?!(?:{_ENDS})\b)[\w'’-]+)*")
"""What a superlative is of: "freshwater lake", "of all lakes", "number"; nothing in "is the largest in Africa"."""
_ONE_OF = re.compile(r"\b(?:one|some|two|three|many|most|among) (?:of )?(?:[\w'’-]+ )?$", re.IGNORECASE)
_COMPASS = re.compile(
    r"\b(?:most\s+(north|south|east|west)er(?:n|ly)|(?:far|fur)thest\s+(north|south|east|west))\b", re.IGNORECASE
)
_EVERYWHERE = {"world", "earth"}


class Fit(IntEnum):
    """How a sentence stands to the superlative of a question."""

    FITS = 0
    ELSEWHERE = 1
    RANKED = 2


def fit(question: str, sentence: str) -> Fit | None:
    """How a sentence stands to the superlative that is asked about; None where one of both has none.

    Returns:
        ``RANKED`` when it tells of another rank than the question ("the second deepest"), ``ELSEWHERE`` when it names a
        region that the question does not ("the deepest of North America"), else ``FITS``; the best of several.
    """
    question, sentence = _in_one_word(question), _in_one_word(sentence)
    asked = {_kind(said): (said["rank"] or "").lower() for said in _SAID.finditer(question)}
    found = [_one(said, asked, question.lower()) for said in _SAID.finditer(sentence) if _kind(said) in asked]
    return min(found, default=None)


def tells_of(noun: str, question: str, sentence: str) -> bool:
    """Whether a sentence tells of the greatest of a kind itself, and fits what is asked: not of the largest number of
    fish in any lake, nor of one of the largest lakes.

    Args:
        noun: the stem of the kind: "lake".
        question: with a superlative.
        sentence: of the evidence.
    """
    if fit(question, sentence) is not Fit.FITS:
        return False
    asked = {_kind(said) for said in _SAID.finditer(_in_one_word(question))}
    text = _in_one_word(sentence)
    for said in _SAID.finditer(text):
        if _kind(said) not in asked or _ONE_OF.search(text[: said.start()]):
            continue
        head = _HEAD.match(text, said.end())
        if noun in terms((head[0] if head else "") or text[: said.start()]):
            return True
    return False


def needs_saying(question: str) -> bool:
    """Whether a question asks for the northernmost, or another end of the compass: of positions alone no sentence tells
    which one that is, and there are few ways to say it."""
    return any(_kind(said).endswith("ernmost") for said in _SAID.finditer(_in_one_word(question)))


def _in_one_word(text: str) -> str:
    """ "Most northern", "most northerly" and "farthest north" as "northernmost"."""
    return _COMPASS.sub(lambda m: f"{(m[1] or m[2]).lower()}ernmost", text)


def _kind(said: re.Match[str]) -> str:
    word = said["word"].lower()
    return _LIKE.get(word, word)


def _one(said: re.Match[str], asked: dict[str, str], question: str) -> Fit:
    if (said["rank"] or "").lower() != asked[_kind(said)]:
        return Fit.RANKED
    if _OF_FEW.match(said["rest"]):
        return Fit.ELSEWHERE
    scope = _SCOPE.match(said["rest"])
    if scope is None:
        return Fit.FITS
    names = scope["name"].lower().split()
    known = names[-1] in _EVERYWHERE or names[-1] in question
    return Fit.FITS if known else Fit.ELSEWHERE
